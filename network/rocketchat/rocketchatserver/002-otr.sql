ALTER TABLE rocketchat_event ADD COLUMN otr TEXT NOT NULL DEFAULT '';

CREATE INDEX rocketchat_event_otr ON rocketchat_event (otr) WHERE otr <> '';
