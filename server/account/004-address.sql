-- Where an account logged in from: hashes of addresses, a few for each account.
CREATE TABLE account_address (
    name TEXT NOT NULL,
    hash BYTEA NOT NULL,
    seen BIGINT NOT NULL, -- the last login, in Unix milliseconds
    PRIMARY KEY (name, hash)
);
