-- A number for each account, given in the order in which they were made. Accounts are never removed, so a number is
-- never given twice.
CREATE TABLE account_number (
    name   TEXT PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE
);
INSERT INTO account_number (name, number) SELECT name, ROW_NUMBER() OVER (ORDER BY created, name) FROM account;
