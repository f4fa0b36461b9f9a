-- The layer of the API that the client last said it speaks; 0 is unknown.
ALTER TABLE mtproto_device ADD COLUMN layer BIGINT NOT NULL DEFAULT 0;
