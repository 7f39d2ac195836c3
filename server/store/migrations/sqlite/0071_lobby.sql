-- Who waits for an admin, and the admission rules.
CREATE TABLE lobby (
    id INTEGER PRIMARY KEY,
    serial TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    hostname TEXT NOT NULL,
    firmware TEXT NOT NULL,
    -- The VDOMs that wait, with blanks between them.
    vdoms TEXT NOT NULL,
    address TEXT,
    state INTEGER NOT NULL,
    realm_id INTEGER,
    decided_by TEXT NOT NULL,
    why TEXT NOT NULL,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    decided_at INTEGER,
    -- When it came in: those that are here neither wait nor are sent away.
    deleted_at INTEGER
) STRICT;

-- The rules and their tests as JSON, in their order: they are read and replaced as a whole.
CREATE TABLE admission (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    rules TEXT NOT NULL,
    tests TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
