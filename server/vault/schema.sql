-- What a user stores for himself under a name. The scope is a room, or empty for the whole account.
CREATE TABLE vault_data (
    user_id TEXT NOT NULL,
    scope   TEXT NOT NULL,
    name    TEXT NOT NULL,
    value   BYTEA, -- NULL: removed; the row stays so that other devices hear of it
    pos     BIGINT NOT NULL,
    PRIMARY KEY (user_id, scope, name)
);
CREATE INDEX vault_data_pos ON vault_data (user_id, pos);
