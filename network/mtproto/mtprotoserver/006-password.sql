-- The two-step password of accounts, as a verifier of SRP.
CREATE TABLE mtproto_password (
    account  TEXT PRIMARY KEY,
    salt1    BYTEA NOT NULL,
    salt2    BYTEA NOT NULL,
    verifier BYTEA NOT NULL, -- sealed
    hint     TEXT NOT NULL
);

-- The account for which a device has given the right code but not yet the
-- password, and until when it may.
ALTER TABLE mtproto_device ADD COLUMN pending TEXT;
ALTER TABLE mtproto_device ADD COLUMN pending_until BIGINT NOT NULL DEFAULT 0;
