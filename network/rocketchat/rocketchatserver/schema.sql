CREATE TABLE rocketchat_user (
	id      TEXT NOT NULL PRIMARY KEY,
	account TEXT NOT NULL UNIQUE,
	public  TEXT NOT NULL,
	private TEXT NOT NULL,
	closed  BOOLEAN NOT NULL
);

CREATE TABLE rocketchat_room (
	id        TEXT NOT NULL PRIMARY KEY,
	type      TEXT NOT NULL,
	name      TEXT NOT NULL,
	topic     TEXT NOT NULL,
	creator   TEXT NOT NULL,
	encrypted BOOLEAN NOT NULL,
	key_id    TEXT NOT NULL,
	created   BIGINT NOT NULL,
	updated   BIGINT NOT NULL,
	last      BIGINT NOT NULL,
	messages  BIGINT NOT NULL,
	reset_at  BIGINT NOT NULL
);

CREATE UNIQUE INDEX rocketchat_room_name ON rocketchat_room (name) WHERE name <> '';

CREATE TABLE rocketchat_sub (
	room          TEXT NOT NULL,
	user_id       TEXT NOT NULL,
	role          TEXT NOT NULL,
	own_key       TEXT NOT NULL,
	suggested     TEXT NOT NULL,
	old_keys      BYTEA NOT NULL,
	suggested_old BYTEA NOT NULL,
	unread        BIGINT NOT NULL,
	seen          BIGINT NOT NULL,
	created       BIGINT NOT NULL,
	updated       BIGINT NOT NULL,
	waits         BIGINT NOT NULL,
	PRIMARY KEY (room, user_id)
);

CREATE INDEX rocketchat_sub_user ON rocketchat_sub (user_id, updated);

CREATE TABLE rocketchat_gone (
	room    TEXT NOT NULL,
	user_id TEXT NOT NULL,
	at      BIGINT NOT NULL,
	PRIMARY KEY (user_id, room)
);

CREATE TABLE rocketchat_message (
	id      TEXT NOT NULL PRIMARY KEY,
	room    TEXT NOT NULL,
	user_id TEXT NOT NULL,
	thread  TEXT NOT NULL,
	at      BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	gone    BOOLEAN NOT NULL,
	sum     BYTEA NOT NULL,
	body    BYTEA NOT NULL
);

CREATE INDEX rocketchat_message_at ON rocketchat_message (room, at);
CREATE INDEX rocketchat_message_updated ON rocketchat_message (room, updated);

CREATE TABLE rocketchat_upload (
	id      TEXT NOT NULL PRIMARY KEY,
	room    TEXT NOT NULL,
	user_id TEXT NOT NULL,
	name    TEXT NOT NULL,
	size    BIGINT NOT NULL,
	content BYTEA NOT NULL,
	message TEXT NOT NULL,
	at      BIGINT NOT NULL
);

CREATE INDEX rocketchat_upload_loose ON rocketchat_upload (at) WHERE message = '';

CREATE TABLE rocketchat_event (
	pos    BIGINT NOT NULL PRIMARY KEY,
	scope  TEXT NOT NULL,
	stream TEXT NOT NULL,
	name   TEXT NOT NULL,
	args   BYTEA NOT NULL,
	at     BIGINT NOT NULL
);

CREATE INDEX rocketchat_event_at ON rocketchat_event (at);
