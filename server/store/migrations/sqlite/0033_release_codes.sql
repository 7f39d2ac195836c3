-- What releases a device from its realm, once; id is that of the device. Only the hash of the code is kept.
CREATE TABLE release_code (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    -- The realms that whoever made it reached into, a JSON list of ids; NULL for everything.
    realms TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    used_by TEXT,
    used_realm_id INTEGER REFERENCES realm (id),
    used_at INTEGER
) STRICT;
