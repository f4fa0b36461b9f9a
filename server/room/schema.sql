-- One row a room.
CREATE TABLE room (
    id      TEXT PRIMARY KEY,
    version TEXT NOT NULL,   -- the rules that the room is under, in the network's words
    creator TEXT NOT NULL,
    created BIGINT NOT NULL,
    listed  BOOLEAN NOT NULL, -- in the public directory
    joined  BIGINT NOT NULL,  -- how many members have the membership "join"
    invited BIGINT NOT NULL   -- how many have "invite"
);
CREATE INDEX room_listed ON room (joined, id) WHERE listed;

-- The append-only log of each room. Only a redaction changes a row.
CREATE TABLE room_event (
    room        TEXT NOT NULL,
    pos         BIGINT NOT NULL,
    id          TEXT NOT NULL UNIQUE,
    type        TEXT NOT NULL,
    state_key   TEXT,            -- NULL: not state
    sender      TEXT NOT NULL,
    time        BIGINT NOT NULL,
    depth       BIGINT NOT NULL, -- 1, 2, 3 ... within the room
    content     BYTEA NOT NULL,
    device      TEXT,            -- the sending device and its transaction id, if it gave one
    txn         TEXT,
    redacts     TEXT,            -- the event that this one redacts
    redacted_by TEXT,            -- the event that redacted this one
    replaces    BIGINT,          -- position of the state event that this one replaced
    rel_type    TEXT,            -- what this event is to rel_to
    rel_to      TEXT,
    related     BOOLEAN NOT NULL, -- some event has this one as rel_to
    PRIMARY KEY (room, pos)
);
CREATE INDEX room_event_state ON room_event (room, type, state_key, pos) WHERE state_key IS NOT NULL;
CREATE INDEX room_event_txn ON room_event (sender, device, txn) WHERE txn IS NOT NULL;
CREATE INDEX room_event_rel ON room_event (rel_to, pos) WHERE rel_to IS NOT NULL;
CREATE INDEX room_event_thread ON room_event (room, rel_type, pos) WHERE rel_type IS NOT NULL;

-- The current state of each room.
CREATE TABLE room_state (
    room      TEXT NOT NULL,
    type      TEXT NOT NULL,
    state_key TEXT NOT NULL,
    pos       BIGINT NOT NULL,
    PRIMARY KEY (room, type, state_key)
);

-- The current membership of everybody who ever had one.
CREATE TABLE room_member (
    room       TEXT NOT NULL,
    member     TEXT NOT NULL,
    membership TEXT NOT NULL,
    pos        BIGINT NOT NULL, -- of the event that set it
    joined     BIGINT,          -- position of the event that last began a "join"
    forgotten  BOOLEAN NOT NULL,
    PRIMARY KEY (room, member)
);
CREATE INDEX room_member_member ON room_member (member, membership);
CREATE INDEX room_member_order ON room_member (room, membership, pos);

-- All memberships there ever were, for what a member may read of the past.
CREATE TABLE room_membership (
    room       TEXT NOT NULL,
    member     TEXT NOT NULL,
    pos        BIGINT NOT NULL,
    membership TEXT NOT NULL,
    PRIMARY KEY (room, member, pos)
);
CREATE INDEX room_membership_member ON room_membership (member, pos);

-- The newest receipt of each member by kind and thread.
CREATE TABLE room_receipt (
    room   TEXT NOT NULL,
    member TEXT NOT NULL,
    kind   TEXT NOT NULL,
    thread TEXT NOT NULL, -- empty: of the whole room
    event  TEXT NOT NULL,
    upto   BIGINT NOT NULL, -- position of event
    time   BIGINT NOT NULL,
    pos    BIGINT NOT NULL,
    PRIMARY KEY (room, member, kind, thread)
);
CREATE INDEX room_receipt_pos ON room_receipt (room, pos);

-- Who is typing. A row stays when its member stops, with until = 0.
CREATE TABLE room_typing (
    room   TEXT NOT NULL,
    member TEXT NOT NULL,
    until  BIGINT NOT NULL,
    pos    BIGINT NOT NULL,
    PRIMARY KEY (room, member)
);
CREATE INDEX room_typing_pos ON room_typing (room, pos);
CREATE INDEX room_typing_until ON room_typing (until) WHERE until > 0;

CREATE TABLE room_alias (
    alias   TEXT PRIMARY KEY,
    room    TEXT NOT NULL,
    creator TEXT NOT NULL,
    created BIGINT NOT NULL
);
CREATE INDEX room_alias_room ON room_alias (room);
