-- Whose call made an event, if it counts for the user until it goes.
ALTER TABLE rocketchat_event ADD COLUMN owner TEXT NOT NULL DEFAULT '';
