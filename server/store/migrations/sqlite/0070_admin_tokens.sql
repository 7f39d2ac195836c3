-- Roles of admin tokens: made anew, because a token now has an id. Those that are there are global.
CREATE TABLE granted_admin_token (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    -- The ids of its realms, as a JSON list; NULL for everything.
    realms TEXT,
    read_only INTEGER NOT NULL DEFAULT 0,
    request_id TEXT,
    created_by TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    -- When it was revoked.
    deleted_at INTEGER
) STRICT;
INSERT INTO granted_admin_token (id, hash, display_name, created_at, deleted_at)
    SELECT (SELECT next_id FROM register) - 1 + row_number() OVER (ORDER BY created_at, hash), hash, name, created_at, revoked_at
    FROM admin_token;
UPDATE register SET next_id = next_id + (SELECT count(*) FROM admin_token);
DROP TABLE admin_token;
ALTER TABLE granted_admin_token RENAME TO admin_token;
CREATE UNIQUE INDEX admin_token_by_request ON admin_token (request_id) WHERE request_id IS NOT NULL;
