-- The devices of every user, under the user's name in the form of its network.
CREATE TABLE device (
    user_id   TEXT NOT NULL,
    id        TEXT NOT NULL,
    name      TEXT,
    created   BIGINT NOT NULL,
    seen      BIGINT,
    seen_addr TEXT,
    PRIMARY KEY (user_id, id)
);

-- Access tokens, by their SHA-256.
CREATE TABLE device_token (
    hash    BYTEA PRIMARY KEY,
    user_id TEXT NOT NULL,
    device  TEXT NOT NULL,
    created BIGINT NOT NULL
);
CREATE INDEX device_token_device ON device_token (user_id, device);
