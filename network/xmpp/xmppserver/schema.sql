-- What the server itself keeps secret: the key under which tokens are made, and the component's secret. Sealed by the server's keeper of secrets.
CREATE TABLE xmpp_secret (
    id      TEXT PRIMARY KEY, -- "token", "component"
    sealed  BYTEA NOT NULL,
    created BIGINT NOT NULL
);

-- Devices, in the order in which they were published. Times are Unix milliseconds.
CREATE TABLE xmpp_device (
    user_id    TEXT NOT NULL, -- bare JID
    device     TEXT NOT NULL,
    thumbprint TEXT NOT NULL, -- RFC 7638, of the signing key
    record     BYTEA NOT NULL, -- e2ee/keysrv.Device in JSON, without the members below
    approval   BYTEA,          -- e2ee/keysrv.Approval in JSON
    approved   BOOLEAN NOT NULL,
    retired    BIGINT,
    pos        BIGINT NOT NULL,
    PRIMARY KEY (user_id, device)
);
CREATE UNIQUE INDEX xmpp_device_thumbprint ON xmpp_device (user_id, thumbprint);

-- Conversations: who may have their keys.
CREATE TABLE xmpp_conversation (
    id      TEXT PRIMARY KEY,
    mode    TEXT NOT NULL,
    first   TEXT NOT NULL, -- the two users, sorted
    second  TEXT NOT NULL,
    created BIGINT NOT NULL
);

-- Key objects.
CREATE TABLE xmpp_key (
    id           TEXT PRIMARY KEY,
    conversation TEXT NOT NULL,
    suite        TEXT NOT NULL,
    creator      TEXT NOT NULL,
    device       TEXT NOT NULL,
    created      BIGINT NOT NULL,
    expires      BIGINT NOT NULL,
    check_value  BYTEA,  -- of a sealed key
    signature    BYTEA,  -- of a sealed key
    sealed       BYTEA,  -- an escrow key, sealed by the server's keeper of secrets
    request      BYTEA NOT NULL, -- the hash of the request that made it
    pos          BIGINT NOT NULL
);
CREATE INDEX xmpp_key_conversation ON xmpp_key (conversation, created, pos);

-- Copies of sealed keys, each for one device.
CREATE TABLE xmpp_copy (
    key_id  TEXT NOT NULL,
    user_id TEXT NOT NULL,
    device  TEXT NOT NULL,
    suite   TEXT NOT NULL,
    sealed  BYTEA NOT NULL,
    PRIMARY KEY (key_id, user_id, device)
);

-- Copies that devices wait for.
CREATE TABLE xmpp_want (
    key_id  TEXT NOT NULL,
    user_id TEXT NOT NULL,
    device  TEXT NOT NULL,
    time    BIGINT NOT NULL,
    PRIMARY KEY (key_id, user_id, device)
);
CREATE INDEX xmpp_want_time ON xmpp_want (time);

-- Ids of proofs that were used, until the proofs are too old anyway.
CREATE TABLE xmpp_proof (
    hash    BYTEA PRIMARY KEY,
    expires BIGINT NOT NULL
);
CREATE INDEX xmpp_proof_expires ON xmpp_proof (expires);

-- The client to which a token without a key belongs, until it expires.
CREATE TABLE xmpp_bearer (
    token   TEXT PRIMARY KEY, -- its id
    client  TEXT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX xmpp_bearer_expires ON xmpp_bearer (expires);

-- What was done, and which key was given to whom. Lines are only added.
CREATE TABLE xmpp_audit (
    pos          BIGINT PRIMARY KEY,
    time         BIGINT NOT NULL,
    action       TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    device       TEXT NOT NULL,
    conversation TEXT NOT NULL,
    key_id       TEXT NOT NULL,
    detail       TEXT NOT NULL
);
CREATE INDEX xmpp_audit_user ON xmpp_audit (user_id, pos);
CREATE INDEX xmpp_audit_conversation ON xmpp_audit (conversation, pos);
CREATE INDEX xmpp_conversation_first ON xmpp_conversation (first);
CREATE INDEX xmpp_conversation_second ON xmpp_conversation (second);
