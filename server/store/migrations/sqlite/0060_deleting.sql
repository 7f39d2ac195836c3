-- Removals that wait for a confirmation or for an admin. vdom is '' for the VDOMs of an owner, and the VDOM of an auth client for users of it.
-- names is a JSON list. deleted_at is there once the set no longer stands.
CREATE TABLE held (
    id INTEGER PRIMARY KEY,
    owner_id INTEGER NOT NULL,
    vdom TEXT NOT NULL,
    serial TEXT,
    names TEXT NOT NULL,
    state INTEGER NOT NULL,
    requested_by TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE INDEX held_standing ON held (owner_id) WHERE deleted_at IS NULL;
CREATE INDEX held_deleted ON held (deleted_at) WHERE deleted_at IS NOT NULL;

-- When an auth client was last removed, as long as the users that went with it can be restored.
ALTER TABLE auth_client ADD COLUMN removed_at INTEGER;
UPDATE auth_client SET removed_at = deleted_at;

-- What the purge looks for.
CREATE INDEX device_deleted ON device (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX auth_client_removed ON auth_client (removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX auth_client_deleted ON auth_client (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX user_deleted ON user (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX user_ref_deleted ON user_ref (deleted_at) WHERE deleted_at IS NOT NULL;
