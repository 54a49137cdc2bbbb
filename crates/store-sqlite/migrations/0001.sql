-- One row says where the log and the facts are.
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL, next INTEGER NOT NULL);
INSERT INTO head VALUES (1, 0, 0);
CREATE TRIGGER head_only_grows BEFORE UPDATE OF next, revision ON head
WHEN NEW.next < OLD.next OR NEW.revision < OLD.revision
BEGIN SELECT RAISE(ABORT, 'the log never gets shorter'); END;
CREATE TRIGGER head_is_kept BEFORE DELETE ON head BEGIN SELECT RAISE(ABORT, 'the log has a length'); END;
CREATE TRIGGER head_is_one BEFORE INSERT ON head BEGIN SELECT RAISE(ABORT, 'the log has one length'); END;
CREATE TABLE fact (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE leaf (idx INTEGER PRIMARY KEY, id BLOB NOT NULL, bytes BLOB NOT NULL, hash BLOB NOT NULL);
-- The next index and no other: also what keeps REPLACE, which deletes without a trigger, away.
CREATE TRIGGER leaf_is_next BEFORE INSERT ON leaf
WHEN NEW.idx IS NOT coalesce((SELECT max(idx) + 1 FROM leaf), 0)
BEGIN SELECT RAISE(ABORT, 'entries are added at the end'); END;
CREATE TRIGGER leaf_is_not_updated BEFORE UPDATE ON leaf BEGIN SELECT RAISE(ABORT, 'entries are never updated'); END;
CREATE TRIGGER leaf_is_not_deleted BEFORE DELETE ON leaf BEGIN SELECT RAISE(ABORT, 'entries are never deleted'); END;
CREATE TABLE disclosure (idx INTEGER PRIMARY KEY, data_key TEXT NOT NULL, sealed BLOB NOT NULL);
-- Written at its end; the one writer remembers what is in it.
CREATE TABLE once (seq INTEGER PRIMARY KEY, scope INTEGER NOT NULL, id BLOB NOT NULL, expires INTEGER NOT NULL);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE open_permit (idx INTEGER PRIMARY KEY);
CREATE TABLE checkpoint (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, note BLOB NOT NULL);
CREATE TRIGGER checkpoint_only_grows BEFORE UPDATE ON checkpoint WHEN NEW.size < OLD.size
BEGIN SELECT RAISE(ABORT, 'a checkpoint never gets smaller'); END;
CREATE TRIGGER checkpoint_is_kept BEFORE DELETE ON checkpoint BEGIN SELECT RAISE(ABORT, 'a checkpoint is never deleted'); END;
CREATE TRIGGER checkpoint_is_one BEFORE INSERT ON checkpoint WHEN EXISTS (SELECT 1 FROM checkpoint)
BEGIN SELECT RAISE(ABORT, 'a checkpoint is replaced by its successor'); END;
-- Ids are ordered by time.
CREATE TABLE leaf_id (id BLOB PRIMARY KEY, idx INTEGER NOT NULL) WITHOUT ROWID;
