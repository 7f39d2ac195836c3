-- Web apps. The auth client of each has its id as owner_id.
CREATE TABLE web_app (
    id INTEGER PRIMARY KEY,
    client_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    -- The SHA-256 of its secret.
    secret BLOB NOT NULL,
    -- That of the secret before, and until when it is valid.
    previous_secret BLOB,
    previous_valid_until INTEGER,
    request_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX web_app_by_request ON web_app (request_id) WHERE request_id IS NOT NULL;
