-- The logins to an account that wait for its password are found by the account.
CREATE INDEX mtproto_device_pending ON mtproto_device (pending) WHERE pending IS NOT NULL;
