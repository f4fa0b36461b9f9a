-- What a device has sent counts for its user until it is forgotten.
ALTER TABLE mtproto_sent ADD COLUMN sender BIGINT;
-- Until when a temporary key that speaks for nobody waits to be bound.
ALTER TABLE mtproto_temp ADD COLUMN idle BIGINT NOT NULL DEFAULT 0;
