-- One-time keys. A claimed one stays, at last without its body, so that a late upload cannot bring it back.
CREATE TABLE prekey_onetime (
    user_id   TEXT NOT NULL,
    device    TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    id        TEXT NOT NULL,
    seq       BIGINT NOT NULL, -- position in the store: the order in which keys are given out
    body      BYTEA NOT NULL,
    PRIMARY KEY (user_id, device, algorithm, id)
);
CREATE UNIQUE INDEX prekey_onetime_next ON prekey_onetime (user_id, device, algorithm, seq);

-- How far the keys of a device have been given out: a claim moves a cursor and writes nothing else.
CREATE TABLE prekey_cursor (
    user_id   TEXT NOT NULL,
    device    TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    claimed   BIGINT NOT NULL, -- keys up to this position are given out
    emptied   BIGINT NOT NULL, -- and up to this one their bodies are gone
    PRIMARY KEY (user_id, device, algorithm)
);

-- The key that is given out again and again when there is no one-time key.
CREATE TABLE prekey_fallback (
    user_id   TEXT NOT NULL,
    device    TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    id        TEXT NOT NULL,
    body      BYTEA NOT NULL,
    used      BOOLEAN NOT NULL,
    PRIMARY KEY (user_id, device, algorithm)
);

-- Answers to claims that had an idempotency id.
CREATE TABLE prekey_answer (
    claimer   TEXT NOT NULL, -- user
    txn       TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    device    TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    id        TEXT NOT NULL,
    body      BYTEA NOT NULL,
    fallback  BOOLEAN NOT NULL,
    time      BIGINT NOT NULL,
    PRIMARY KEY (claimer, txn, user_id, device, algorithm)
);
CREATE INDEX prekey_answer_time ON prekey_answer (time);
