-- The certificate authority: its certificates, and its keys sealed by the server's keeper of secrets.
CREATE TABLE ca_authority (
    id       TEXT PRIMARY KEY, -- "current"
    root     BYTEA NOT NULL,   -- DER
    root_key BYTEA NOT NULL,   -- PKCS #8, sealed
    cert     BYTEA NOT NULL,   -- the intermediate, DER
    cert_key BYTEA NOT NULL,   -- PKCS #8, sealed
    created  BIGINT NOT NULL
);

-- Every key that was ever enrolled. Times are Unix milliseconds; a state is derived from them.
CREATE TABLE ca_key (
    user_id    TEXT NOT NULL,
    key_id     TEXT NOT NULL, -- SHA-256 of spki in hex
    device     TEXT NOT NULL,
    usage      TEXT NOT NULL, -- sign, encrypt, both
    profile    TEXT NOT NULL,
    spki       BYTEA NOT NULL,
    cert       BYTEA,         -- NULL in the legacy profile
    serial     TEXT,          -- hex
    not_before BIGINT NOT NULL,
    expires    BIGINT NOT NULL,
    graced     BIGINT,        -- when it was renewed
    grace_end  BIGINT,        -- from when on it takes in nothing new, and retires when nothing waits
    retired    BIGINT,
    revoked    BIGINT,
    reason     BIGINT,
    replaces   TEXT,          -- the key that this one renewed
    renewal    BYTEA,         -- e2ee/ca.Renewal in JSON, where both keys have signed one
    approver   TEXT,          -- the key of the device that approved it
    pos        BIGINT NOT NULL,
    PRIMARY KEY (user_id, key_id)
);
CREATE UNIQUE INDEX ca_key_id ON ca_key (key_id);
CREATE UNIQUE INDEX ca_key_serial ON ca_key (serial) WHERE serial IS NOT NULL;
CREATE INDEX ca_key_device ON ca_key (user_id, device, usage, profile, pos);
CREATE INDEX ca_key_grace ON ca_key (grace_end, key_id) WHERE grace_end IS NOT NULL AND retired IS NULL AND revoked IS NULL;
CREATE INDEX ca_key_revoked ON ca_key (expires) WHERE revoked IS NOT NULL;

-- Nonces for renewals, by their SHA-256, until they are used.
CREATE TABLE ca_nonce (
    hash    BYTEA PRIMARY KEY,
    key_id  TEXT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX ca_nonce_expires ON ca_nonce (expires);

-- What another device of the user has approved.
CREATE TABLE ca_approval (
    user_id  TEXT NOT NULL,
    key_id   TEXT NOT NULL,
    device   TEXT NOT NULL,
    approver TEXT NOT NULL, -- key
    expires  BIGINT NOT NULL,
    PRIMARY KEY (user_id, key_id)
);

-- The revocation list that is in force.
CREATE TABLE ca_crl (
    id     TEXT PRIMARY KEY, -- "current"
    number BIGINT NOT NULL,
    raw    BYTEA NOT NULL,
    made   BIGINT NOT NULL,
    until  BIGINT NOT NULL,
    stale  BOOLEAN NOT NULL -- something was revoked since
);

-- Everything that the authority did, in order. Rows are only ever added.
CREATE TABLE ca_audit (
    pos     BIGINT PRIMARY KEY,
    time    BIGINT NOT NULL,
    action  TEXT NOT NULL,
    user_id TEXT NOT NULL,
    device  TEXT NOT NULL,
    key_id  TEXT NOT NULL,
    serial  TEXT NOT NULL,
    detail  TEXT NOT NULL
);
CREATE INDEX ca_audit_user ON ca_audit (user_id, pos);

-- Conversations of the mail drop, and their members.
CREATE TABLE ca_conversation (
    id      TEXT PRIMARY KEY,
    profile TEXT NOT NULL,
    creator TEXT NOT NULL,
    created BIGINT NOT NULL
);
CREATE TABLE ca_member (
    conv    TEXT NOT NULL,
    user_id TEXT NOT NULL,
    joined  BIGINT NOT NULL, -- position from which on the member may read
    chosen  BOOLEAN NOT NULL, -- chose the profile, where it is the legacy one
    gone    BOOLEAN NOT NULL,
    PRIMARY KEY (conv, user_id)
);
CREATE INDEX ca_member_user ON ca_member (user_id) WHERE NOT gone;

-- Deliveries, each once; the mailboxes of devices refer to them.
CREATE TABLE ca_message (
    conv   TEXT NOT NULL,
    pos    BIGINT NOT NULL,
    id     TEXT NOT NULL,
    sender TEXT NOT NULL,
    device TEXT NOT NULL,
    kind   TEXT NOT NULL,
    form   TEXT NOT NULL,
    body   BYTEA NOT NULL,
    sum    BYTEA NOT NULL, -- SHA-256 of the whole request, so that a repeated one is known
    time   BIGINT NOT NULL,
    PRIMARY KEY (conv, pos)
);
CREATE UNIQUE INDEX ca_message_id ON ca_message (conv, id);

-- How far some device of each user has acknowledged its messages.
CREATE TABLE ca_delivered (
    user_id TEXT PRIMARY KEY,
    upto    BIGINT NOT NULL
);
