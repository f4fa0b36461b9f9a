-- How many bytes are kept for each owner, by their class. The owner is an account, or a user of one network who has
-- no account here: the name of the network, a space, and the id.
CREATE TABLE quota_used (
    owner TEXT NOT NULL,
    class TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (owner, class)
);
