-- One-time keys. A claimed one stays, without its body, so that a late upload cannot bring it back.
CREATE TABLE prekey_onetime (
    user_id   TEXT NOT NULL,
    device    TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    id        TEXT NOT NULL,
    seq       BIGINT NOT NULL, -- position in the store: the order in which keys are given out
    body      BYTEA NOT NULL,
    claimed   BIGINT,          -- when, in Unix milliseconds
    PRIMARY KEY (user_id, device, algorithm, id)
);
CREATE INDEX prekey_onetime_next ON prekey_onetime (user_id, device, algorithm, seq) WHERE claimed IS NULL;
CREATE INDEX prekey_onetime_seq ON prekey_onetime (seq) WHERE claimed IS NULL;

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
