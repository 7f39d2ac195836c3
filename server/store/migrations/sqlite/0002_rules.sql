-- Users, quotas, clusters and tombstones. Every id comes from register.next_id, so that an id alone tells what it is of.

-- The settings, and what is counted over all of the register.
CREATE TABLE settings (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    auto_create_auth_clients INTEGER NOT NULL DEFAULT 1,
    multi_realm_mode INTEGER NOT NULL DEFAULT 0,
    share_quota INTEGER NOT NULL DEFAULT 1,
    fold_usernames INTEGER NOT NULL DEFAULT 1,
    user_quota INTEGER,
    users INTEGER NOT NULL DEFAULT 0,
    guard_vdoms INTEGER NOT NULL DEFAULT 1,
    guard_vdom_percent INTEGER NOT NULL DEFAULT 50,
    guard_users INTEGER NOT NULL DEFAULT 20,
    retention_days INTEGER NOT NULL DEFAULT 30,
    updated_at INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO settings (only) VALUES (1);

ALTER TABLE realm ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE realm ADD COLUMN user_quota INTEGER;
ALTER TABLE realm ADD COLUMN users INTEGER NOT NULL DEFAULT 0;
ALTER TABLE realm ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE realm ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE realm ADD COLUMN deleted_at INTEGER;

-- A tombstone is JSON: mode, by, why. It is there exactly if deleted_at is.
ALTER TABLE device ADD COLUMN tombstone TEXT;
ALTER TABLE device ADD COLUMN contacts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN cluster_id INTEGER;
ALTER TABLE device ADD COLUMN member_role INTEGER;
ALTER TABLE device ADD COLUMN realm_id INTEGER;
ALTER TABLE device ADD COLUMN key_hash BLOB;
CREATE INDEX device_by_cluster ON device (cluster_id) WHERE cluster_id IS NOT NULL;
UPDATE device SET tombstone = '{"mode":1,"by":"","why":""}' WHERE deleted_at IS NOT NULL;

CREATE TABLE cluster (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;

-- An auth client belongs to a device, a cluster, or (a Web app) to itself: made anew, because device_id referred to devices alone.
CREATE TABLE owned_auth_client (
    id INTEGER PRIMARY KEY,
    owner_id INTEGER NOT NULL,
    vdom TEXT NOT NULL,
    realm_id INTEGER NOT NULL REFERENCES realm (id),
    alias TEXT NOT NULL DEFAULT '',
    users INTEGER NOT NULL DEFAULT 0,
    users_digest BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    tombstone TEXT,
    UNIQUE (owner_id, vdom)
) STRICT;
INSERT INTO owned_auth_client (id, owner_id, vdom, realm_id, created_at, updated_at, deleted_at, tombstone)
    SELECT id, device_id, vdom, realm_id, created_at, updated_at, deleted_at,
        CASE WHEN deleted_at IS NULL THEN NULL ELSE '{"mode":1,"by":"","why":""}' END
    FROM auth_client;
DROP TABLE auth_client;
ALTER TABLE owned_auth_client RENAME TO auth_client;

-- A person in a realm. The key is the username, in lower case if the settings say so.
CREATE TABLE user (
    id INTEGER PRIMARY KEY,
    realm_id INTEGER NOT NULL REFERENCES realm (id),
    user_key TEXT NOT NULL,
    username TEXT NOT NULL,
    disabled INTEGER NOT NULL,
    refs INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    UNIQUE (realm_id, user_key)
) STRICT;

-- That person on one auth client.
CREATE TABLE user_ref (
    id INTEGER PRIMARY KEY,
    auth_client_id INTEGER NOT NULL REFERENCES auth_client (id),
    user_key TEXT NOT NULL,
    user_id INTEGER NOT NULL REFERENCES user (id),
    username TEXT NOT NULL,
    email TEXT NOT NULL,
    mobile TEXT,
    kind INTEGER NOT NULL,
    active INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    UNIQUE (auth_client_id, user_key)
) STRICT;
CREATE INDEX user_ref_by_user ON user_ref (user_id);

-- What a row of the audit log is about, by id; 0 for the settings. Indexed by id and not by serial number, because new ids lie next to each
-- other.
ALTER TABLE audit ADD COLUMN about INTEGER NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
UPDATE audit SET about = coalesce((SELECT id FROM device WHERE device.serial = audit.serial), 0);
CREATE INDEX audit_by_about ON audit (about, id);
