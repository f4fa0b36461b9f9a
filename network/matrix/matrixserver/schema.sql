-- Sessions of user-interactive authentication that are not finished.
CREATE TABLE matrix_uia (
    session   TEXT PRIMARY KEY,
    user_id   TEXT NOT NULL, -- empty for a registration
    operation TEXT NOT NULL, -- what the session may be used for
    stages    TEXT NOT NULL, -- completed ones, separated by spaces
    expires   BIGINT NOT NULL
);
CREATE INDEX matrix_uia_expires ON matrix_uia (expires);

-- Filters that clients uploaded for /sync; a filter is never changed.
CREATE TABLE matrix_filter (
    user_id TEXT NOT NULL,
    id      BIGINT NOT NULL,
    hash    BYTEA NOT NULL,
    body    BYTEA NOT NULL,
    PRIMARY KEY (user_id, id)
);
CREATE UNIQUE INDEX matrix_filter_hash ON matrix_filter (user_id, hash);

-- What a user made of the predefined push rules.
CREATE TABLE matrix_pushrule (
    user_id TEXT PRIMARY KEY,
    body    BYTEA NOT NULL, -- JSON of pushrule.Set
    pos     BIGINT NOT NULL
);

-- Where a user's devices want to be told of events while they sleep.
CREATE TABLE matrix_pusher (
    user_id TEXT NOT NULL,
    app_id  TEXT NOT NULL,
    pushkey TEXT NOT NULL,
    device  TEXT NOT NULL,
    created BIGINT NOT NULL,
    body    BYTEA NOT NULL, -- JSON as the client gave it
    PRIMARY KEY (user_id, app_id, pushkey)
);

-- Events that nobody has looked at yet for whom to tell of them.
CREATE TABLE matrix_push_event (
    pos   BIGINT PRIMARY KEY,
    room  TEXT NOT NULL
);

-- Words on their way to a push gateway.
CREATE TABLE matrix_push (
    user_id  TEXT NOT NULL,
    app_id   TEXT NOT NULL,
    pushkey  TEXT NOT NULL,
    pos      BIGINT NOT NULL, -- of the event
    body     BYTEA NOT NULL,  -- JSON of the notification
    next_try BIGINT NOT NULL,
    tries    BIGINT NOT NULL,
    PRIMARY KEY (user_id, app_id, pushkey, pos)
);
CREATE INDEX matrix_push_next ON matrix_push (next_try);
