-- Times are Unix microseconds, because RFC 3339 text does not sort. Ids come from register.next_id and are never given away twice.
-- Tables are keyed by small ascending ids, so that a batch of new rows fills pages instead of touching one page a row.

CREATE TABLE register (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    next_id INTEGER NOT NULL,
    probed_at INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO register (only, next_id) VALUES (1, 1000);

CREATE TABLE realm (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO realm (id, name) VALUES (1, 'default');

CREATE TABLE device (
    id INTEGER PRIMARY KEY,
    serial TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    hostname TEXT NOT NULL,
    firmware TEXT NOT NULL,
    generation INTEGER NOT NULL,
    digest BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    last_seen_at INTEGER NOT NULL
) STRICT;

CREATE TABLE auth_client (
    id INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL REFERENCES device (id),
    vdom TEXT NOT NULL,
    realm_id INTEGER NOT NULL REFERENCES realm (id),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    UNIQUE (device_id, vdom)
) STRICT;

-- One row for each operation that changed something, written in the same commit as the change.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    operation_id BLOB NOT NULL,
    caller TEXT NOT NULL,
    method TEXT NOT NULL,
    serial TEXT NOT NULL,
    changes TEXT NOT NULL
) STRICT;

CREATE TABLE admin_token (
    hash BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
