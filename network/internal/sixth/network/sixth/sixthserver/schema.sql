-- What was posted and is not sorted into mailboxes yet.
CREATE TABLE sixth_post (
    pos       BIGINT PRIMARY KEY,
    id        TEXT NOT NULL,
    sender    TEXT NOT NULL,
    device    TEXT NOT NULL,
    recipient TEXT NOT NULL,
    txn       TEXT NOT NULL,
    box       BYTEA NOT NULL
);
