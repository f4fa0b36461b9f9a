-- Messages that wait for one device, in the order of seq. No primary key: rows of many devices are appended
-- together, which costs a fifth of what a table clustered by device does.
CREATE TABLE mailbox_message (
    user_id TEXT NOT NULL,
    device  TEXT NOT NULL,
    seq     BIGINT NOT NULL, -- position in the store
    sender  TEXT NOT NULL,
    type    TEXT NOT NULL,
    body    BYTEA NOT NULL,
    expires BIGINT           -- Unix milliseconds; NULL: never
);
CREATE UNIQUE INDEX mailbox_message_device ON mailbox_message (user_id, device, seq);
CREATE INDEX mailbox_message_expires ON mailbox_message (expires) WHERE expires IS NOT NULL;

-- How far each device has acknowledged, and how far its rows have been removed.
CREATE TABLE mailbox_cursor (
    user_id TEXT NOT NULL,
    device  TEXT NOT NULL,
    acked   BIGINT NOT NULL,
    swept   BIGINT NOT NULL,
    gone    BOOLEAN NOT NULL, -- the device was removed: the row goes when all is swept
    PRIMARY KEY (user_id, device)
);
CREATE INDEX mailbox_cursor_sweep ON mailbox_cursor (user_id, device) WHERE acked > swept;

-- What each device has sent, so that a repeated request sends nothing.
CREATE TABLE mailbox_txn (
    user_id TEXT NOT NULL,
    device  TEXT NOT NULL,
    txn     TEXT NOT NULL,
    time    BIGINT NOT NULL,
    PRIMARY KEY (user_id, device, txn)
);
CREATE INDEX mailbox_txn_time ON mailbox_txn (time);

-- Senders with too many messages waiting for a device: they can send it no more until it has read them.
CREATE TABLE mailbox_full (
    user_id TEXT NOT NULL,
    device  TEXT NOT NULL,
    sender  TEXT NOT NULL,
    PRIMARY KEY (user_id, device, sender)
);
CREATE INDEX mailbox_full_sender ON mailbox_full (sender);
