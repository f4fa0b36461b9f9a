-- Temporary authorization keys, each bound to the key of a device before it can
-- speak for it.
CREATE TABLE mtproto_temp (
    key_id   BIGINT PRIMARY KEY, -- auth_key_id
    auth_key BYTEA NOT NULL,     -- sealed under the master secret
    device   BIGINT,             -- the key_id of the device, NULL before it is bound
    expires  BIGINT NOT NULL
);
CREATE INDEX mtproto_temp_expires ON mtproto_temp (expires);
CREATE INDEX mtproto_temp_device ON mtproto_temp (device) WHERE device IS NOT NULL;
