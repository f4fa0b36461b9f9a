-- What the server itself keeps secret, sealed by its keeper of secrets.
CREATE TABLE mtproto_secret (
    id     TEXT PRIMARY KEY, -- "master", "rsa"
    sealed BYTEA NOT NULL
);

-- Every authorization key, which is a device once somebody has logged in with it.
CREATE TABLE mtproto_device (
    key_id   BIGINT PRIMARY KEY, -- auth_key_id
    auth_key BYTEA NOT NULL,     -- sealed under the master secret
    created  BIGINT NOT NULL,
    account  TEXT,               -- NULL before the login and after the logout
    name     TEXT NOT NULL,
    seen     BIGINT NOT NULL,
    qts      BIGINT NOT NULL,    -- the last one that was given
    pts      BIGINT NOT NULL,
    acked    BIGINT NOT NULL     -- the qts that the device acknowledged
);
CREATE INDEX mtproto_device_account ON mtproto_device (account) WHERE account IS NOT NULL;
CREATE INDEX mtproto_device_idle ON mtproto_device (seen) WHERE account IS NULL;

-- Secret chats. Times are Unix milliseconds but where it says seconds.
CREATE TABLE mtproto_chat (
    id          BIGINT PRIMARY KEY, -- drawn by the device that asked
    admin       BIGINT NOT NULL,    -- user
    participant BIGINT NOT NULL,    -- user
    admin_key   BIGINT NOT NULL,    -- device
    other_key   BIGINT,             -- device, once the request was accepted
    state       TEXT NOT NULL,      -- requested, open, closed
    created     BIGINT NOT NULL,    -- seconds
    g_a         BYTEA NOT NULL,
    g_b         BYTEA,
    fingerprint BIGINT,
    forget      BOOLEAN NOT NULL,   -- whoever closed it asks to delete the history
    closed      BIGINT
);
CREATE INDEX mtproto_chat_admin ON mtproto_chat (admin_key) WHERE state <> 'closed';
CREATE INDEX mtproto_chat_other ON mtproto_chat (other_key) WHERE state <> 'closed';
CREATE INDEX mtproto_chat_asked ON mtproto_chat (participant) WHERE state = 'requested';
CREATE INDEX mtproto_chat_closed ON mtproto_chat (closed) WHERE state = 'closed';

-- Messages that wait for a device, in the order of qts.
CREATE TABLE mtproto_message (
    key_id    BIGINT NOT NULL,
    qts       BIGINT NOT NULL,
    chat      BIGINT NOT NULL,
    random_id BIGINT NOT NULL,
    sent      BIGINT NOT NULL, -- seconds
    service   BOOLEAN NOT NULL,
    data      BYTEA NOT NULL,
    file      BIGINT,
    expires   BIGINT NOT NULL,
    PRIMARY KEY (key_id, qts)
);
CREATE INDEX mtproto_message_expires ON mtproto_message (expires);

-- What a device has sent, so that a repetition gets the same answer.
CREATE TABLE mtproto_sent (
    key_id    BIGINT NOT NULL,
    random_id BIGINT NOT NULL,
    sent      BIGINT NOT NULL, -- seconds
    file      BIGINT,
    expires   BIGINT NOT NULL,
    PRIMARY KEY (key_id, random_id)
);
CREATE INDEX mtproto_sent_expires ON mtproto_sent (expires);

-- What else a device is told: that a chat changed, or that the peer has read.
CREATE TABLE mtproto_event (
    key_id   BIGINT NOT NULL,
    pts      BIGINT NOT NULL,
    chat     BIGINT NOT NULL,
    stage    TEXT NOT NULL,   -- requested, open, closed, read
    at       BIGINT NOT NULL, -- seconds
    max_date BIGINT NOT NULL, -- of read, seconds
    expires  BIGINT NOT NULL,
    PRIMARY KEY (key_id, pts)
);
CREATE INDEX mtproto_event_expires ON mtproto_event (expires);
