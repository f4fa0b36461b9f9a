-- What users store for themselves under a name. The scope is a room, or empty for the whole account.
CREATE TABLE vault_data (
    user_id TEXT NOT NULL,
    scope   TEXT NOT NULL,
    name    TEXT NOT NULL,
    value   BYTEA, -- NULL: removed; the row stays so that other devices hear of it
    pos     BIGINT NOT NULL,
    PRIMARY KEY (user_id, scope, name)
);
CREATE INDEX vault_data_pos ON vault_data (user_id, pos);

-- Versions of a user's backup of sealed room keys.
CREATE TABLE vault_backup (
    user_id   TEXT NOT NULL,
    version   BIGINT NOT NULL, -- 1, 2, 3 ... for each user
    algorithm TEXT NOT NULL,
    auth      BYTEA NOT NULL,
    count     BIGINT NOT NULL, -- of the keys in it
    etag      BIGINT NOT NULL, -- grows with every change of the keys
    deleted   BOOLEAN NOT NULL,
    PRIMARY KEY (user_id, version)
);

-- The sealed keys of a backup. What is beside the body decides which of two keys is the better one.
CREATE TABLE vault_backup_key (
    user_id   TEXT NOT NULL,
    version   BIGINT NOT NULL,
    room      TEXT NOT NULL,
    session   TEXT NOT NULL,
    first     BIGINT NOT NULL,
    forwarded BIGINT NOT NULL,
    verified  BOOLEAN NOT NULL,
    body      BYTEA NOT NULL,
    PRIMARY KEY (user_id, version, room, session)
);

-- The sealed state of a device that only receives, until a new device takes its messages over.
CREATE TABLE vault_dehydrated (
    user_id TEXT PRIMARY KEY,
    device  TEXT NOT NULL,
    body    BYTEA NOT NULL
);
