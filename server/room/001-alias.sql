-- How many aliases somebody has made.
CREATE INDEX room_alias_creator ON room_alias (creator);
