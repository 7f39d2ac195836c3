-- How many active auth clients a realm has: kept by the rules, because counting them on each page of a list costs more than one number.
ALTER TABLE realm ADD COLUMN clients INTEGER NOT NULL DEFAULT 0;
UPDATE realm SET clients = (
    SELECT count(*) FROM auth_client WHERE auth_client.realm_id = realm.id AND auth_client.deleted_at IS NULL
);

-- The hash of the request that made a realm, if it came with a request_id: the same request is answered with the same realm.
ALTER TABLE realm ADD COLUMN request BLOB;

-- Whose users are counted against an allocation of their own; few realms have one.
CREATE INDEX realm_by_quota ON realm (id) WHERE user_quota IS NOT NULL;
