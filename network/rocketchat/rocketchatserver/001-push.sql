CREATE TABLE rocketchat_push_token (
	user_id TEXT NOT NULL,
	device  TEXT NOT NULL,
	id      TEXT NOT NULL,
	service TEXT NOT NULL,
	token   TEXT NOT NULL UNIQUE,
	app     TEXT NOT NULL,
	created BIGINT NOT NULL,
	PRIMARY KEY (user_id, device)
);

CREATE TABLE rocketchat_push (
	user_id  TEXT NOT NULL,
	device   TEXT NOT NULL,
	message  TEXT NOT NULL,
	next_try BIGINT NOT NULL,
	tries    BIGINT NOT NULL,
	PRIMARY KEY (user_id, device, message)
);

CREATE INDEX rocketchat_push_due ON rocketchat_push (next_try);
