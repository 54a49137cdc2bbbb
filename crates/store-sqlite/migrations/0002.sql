-- What facts of the kinds that are kept were: a row for each change, without a body where one was removed.
CREATE TABLE past (key TEXT NOT NULL, revision INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB, PRIMARY KEY (key, revision)) WITHOUT ROWID;
CREATE TRIGGER past_is_not_updated BEFORE UPDATE ON past BEGIN SELECT RAISE(ABORT, 'what was is never updated'); END;
CREATE TRIGGER past_is_not_deleted BEFORE DELETE ON past BEGIN SELECT RAISE(ABORT, 'what was is never deleted'); END;
-- Since when they are kept.
CREATE TABLE kept_since (one INTEGER PRIMARY KEY CHECK (one = 1), at INTEGER NOT NULL);
CREATE TRIGGER kept_since_is_kept BEFORE UPDATE ON kept_since BEGIN SELECT RAISE(ABORT, 'it began once'); END;
