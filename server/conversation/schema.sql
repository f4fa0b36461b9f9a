-- One row a conversation. Ids are those of the network.
CREATE TABLE conversation (
    network TEXT NOT NULL,
    id      TEXT NOT NULL,
    kind    TEXT NOT NULL, -- in the network's words; never changes
    creator TEXT NOT NULL, -- user, with the name of the network
    created BIGINT NOT NULL,
    PRIMARY KEY (network, id)
);

-- Everybody who is or was in a conversation.
CREATE TABLE conversation_member (
    network TEXT NOT NULL,
    conv    TEXT NOT NULL,
    user_id TEXT NOT NULL,
    role    TEXT NOT NULL,   -- in the network's words
    joined  BIGINT NOT NULL, -- position from which the member may read
    ended   BIGINT,          -- position at which the member left; NULL: is in it
    PRIMARY KEY (network, conv, user_id)
);
CREATE INDEX conversation_member_user ON conversation_member (user_id, joined) WHERE ended IS NULL;

-- The log. Rows are only ever added.
CREATE TABLE conversation_message (
    network TEXT NOT NULL,
    conv    TEXT NOT NULL,
    pos     BIGINT NOT NULL,
    id      TEXT NOT NULL,
    sender  TEXT NOT NULL,
    device  TEXT NOT NULL,
    txn     TEXT,          -- the sending device's own id for the message, if it gave one
    type    TEXT NOT NULL, -- what it is and which form its body has, in the network's words
    form    TEXT NOT NULL,
    body    BYTEA NOT NULL,
    sum     BYTEA NOT NULL, -- of the whole request, so that a repeated one is known
    time    BIGINT NOT NULL,
    PRIMARY KEY (network, conv, pos)
);
CREATE UNIQUE INDEX conversation_message_id ON conversation_message (network, conv, id);
CREATE UNIQUE INDEX conversation_message_txn ON conversation_message (sender, device, txn) WHERE txn IS NOT NULL;

-- How far each member has come, by kind of receipt.
CREATE TABLE conversation_receipt (
    network TEXT NOT NULL,
    conv    TEXT NOT NULL,
    user_id TEXT NOT NULL,
    kind    TEXT NOT NULL, -- in the network's words
    upto    BIGINT NOT NULL,
    time    BIGINT NOT NULL,
    pos     BIGINT NOT NULL,
    PRIMARY KEY (network, conv, user_id, kind)
);
