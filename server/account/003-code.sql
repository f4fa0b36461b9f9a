-- Login codes: one for each account and network, by the SHA-256 of network, account and code.
CREATE TABLE account_code (
    network TEXT NOT NULL,
    name    TEXT NOT NULL,
    hash    BYTEA NOT NULL,
    expires BIGINT NOT NULL, -- Unix milliseconds
    tries   BIGINT NOT NULL, -- how many are left
    PRIMARY KEY (network, name)
);
CREATE INDEX account_code_expires ON account_code (expires);
