-- Other names of an account that a network gives it, such as a phone number.
CREATE TABLE account_alias (
    network TEXT NOT NULL,
    value   TEXT NOT NULL,
    name    TEXT NOT NULL,
    PRIMARY KEY (network, value)
);
CREATE INDEX account_alias_name ON account_alias (name, network);
