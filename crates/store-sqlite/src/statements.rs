//! What the writer says to SQLite, prepared once.

use rusqlite::{Connection, Statement};

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        /// The statements of the writing connection.
        pub(crate) struct Statements<'c> {
            $($(#[$doc])* pub(crate) $name: Statement<'c>,)*
        }

        impl<'c> Statements<'c> {
            /// Prepares all of them; fails if the schema is not what it should be.
            pub(crate) fn prepare(connection: &'c Connection) -> Result<Self, rusqlite::Error> {
                Ok(Self { $($name: connection.prepare($sql)?,)* })
            }
        }
    };
}

statements! {
    begin = "BEGIN IMMEDIATE";
    commit = "COMMIT";
    rollback = "ROLLBACK";
    savepoint = "SAVEPOINT unit";
    release = "RELEASE unit";
    rollback_to = "ROLLBACK TO unit";
    head = "UPDATE head SET revision = ?1, next = ?2";
    leaf = "INSERT INTO leaf (idx, id, bytes, hash) VALUES (?1, ?2, ?3, ?4)";
    disclosure = "INSERT INTO disclosure (idx, data_key, sealed) VALUES (?1, ?2, ?3)";
    put = "INSERT INTO fact (key, revision, body) VALUES (?1, ?2, ?3) \
           ON CONFLICT (key) DO UPDATE SET revision = ?2, body = ?3";
    put_new = "INSERT OR IGNORE INTO fact (key, revision, body) VALUES (?1, ?2, ?3)";
    exists = "SELECT 1 FROM fact WHERE key = ?1";
    remove = "DELETE FROM fact WHERE key = ?1";
    past = "INSERT OR REPLACE INTO past (key, revision, at, body) VALUES (?1, ?2, ?3, ?4)";
    leaf_id = "INSERT OR IGNORE INTO leaf_id (id, idx) VALUES (?1, ?2)";
    use_once = "INSERT INTO once (scope, id, expires) VALUES (?1, ?2, ?3)";
    counter = "SELECT value FROM counter WHERE name = ?1";
    count = "INSERT INTO counter (name, value) VALUES (?1, ?2) \
             ON CONFLICT (name) DO UPDATE SET value = ?2";
    uncount = "DELETE FROM counter WHERE name = ?1";
    open_permit = "INSERT INTO open_permit (idx, body) VALUES (?1, ?2)";
    close_permit = "DELETE FROM open_permit WHERE idx = ?1";
    first_checkpoint = "INSERT INTO checkpoint (one, size, note) SELECT 1, ?1, ?2 \
                        WHERE NOT EXISTS (SELECT 1 FROM checkpoint)";
    next_checkpoint = "UPDATE checkpoint SET size = ?1, note = ?2 WHERE size = ?3";
}
