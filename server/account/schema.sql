-- One row a person. The name is the local part that every network derives its own name from.
CREATE TABLE account (
    name     TEXT PRIMARY KEY,
    password TEXT NOT NULL, -- PHC string of argon2id; empty: no login by password
    created  BIGINT NOT NULL,
    closed   BIGINT         -- when the account was deactivated; the name stays taken
);

-- What people show of themselves, by field name; the value is in the network's form.
CREATE TABLE account_profile (
    name  TEXT NOT NULL,
    field TEXT NOT NULL,
    value BYTEA NOT NULL,
    folded TEXT NOT NULL, -- lower case, for the search
    PRIMARY KEY (name, field)
);

-- Invitations to register, by the SHA-256 of the token.
CREATE TABLE account_invite (
    hash    BYTEA PRIMARY KEY,
    created BIGINT NOT NULL,
    expires BIGINT, -- NULL: never
    uses    BIGINT  -- how many are left; NULL: any number
);
