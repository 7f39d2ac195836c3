-- A number that admits one device to a realm; serial is that of the device that has it.
CREATE TABLE license (
    id INTEGER PRIMARY KEY,
    number TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    realm_id INTEGER NOT NULL REFERENCES realm (id),
    serial TEXT,
    bound_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE INDEX license_by_serial ON license (serial) WHERE serial IS NOT NULL;
