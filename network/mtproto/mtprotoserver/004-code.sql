-- The login codes that are asked for now. A row says nothing of whether anybody
-- has the number.
CREATE TABLE mtproto_code (
    phone   TEXT PRIMARY KEY, -- digits
    sealed  BYTEA NOT NULL,
    tries   BIGINT NOT NULL,  -- that are left
    expires BIGINT NOT NULL
);
CREATE INDEX mtproto_code_expires ON mtproto_code (expires);

-- Codes that always hold, which an operator gave to accounts.
CREATE TABLE mtproto_fixed (
    account TEXT PRIMARY KEY,
    sealed  BYTEA NOT NULL
);

-- The sealed text of an event with the stage notice.
ALTER TABLE mtproto_event ADD COLUMN note BYTEA;
