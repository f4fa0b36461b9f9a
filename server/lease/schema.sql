-- lease has one row for each thing that one node holds at a time. until is
-- when the hold ends, in Unix milliseconds.
CREATE TABLE lease (
	name TEXT PRIMARY KEY,
	node TEXT NOT NULL,
	until BIGINT NOT NULL
);
