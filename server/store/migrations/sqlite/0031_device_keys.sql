-- The keys that claim one serial number, as soon as there are two.
CREATE TABLE device_key (
    id INTEGER PRIMARY KEY,
    serial TEXT NOT NULL,
    key_hash BLOB NOT NULL,
    state INTEGER NOT NULL,
    address TEXT,
    certificate TEXT NOT NULL,
    valid_from INTEGER,
    valid_until INTEGER,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    UNIQUE (serial, key_hash)
) STRICT;
