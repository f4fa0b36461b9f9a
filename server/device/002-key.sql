-- Keys of connections, such as an MTProto auth key: the id travels in clear, the key is sealed by the server's keeper of
-- secrets. Until somebody logs in over the connection the key has no user.
CREATE TABLE device_key (
    network TEXT NOT NULL,
    id      BYTEA NOT NULL,
    sealed  BYTEA NOT NULL,
    user_id TEXT,
    device  TEXT,
    created BIGINT NOT NULL,
    expires BIGINT, -- Unix milliseconds; NULL: never
    PRIMARY KEY (network, id)
);
CREATE INDEX device_key_device ON device_key (user_id, device) WHERE user_id IS NOT NULL;
CREATE INDEX device_key_expires ON device_key (expires) WHERE expires IS NOT NULL;
