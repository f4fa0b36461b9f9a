-- Files by their id. A row without bytes is a reserved id that waits for its upload.
CREATE TABLE blob (
    id      TEXT PRIMARY KEY,
    owner   TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT, -- until when a reserved id may be filled; NULL once it is
    bytes   TEXT,   -- the key on the media store
    size    BIGINT NOT NULL,
    sum     BYTEA,  -- SHA-256 of the bytes
    type    TEXT NOT NULL,
    name    TEXT NOT NULL
);
CREATE UNIQUE INDEX blob_bytes ON blob (bytes) WHERE bytes IS NOT NULL;
CREATE INDEX blob_reserved ON blob (owner, expires) WHERE bytes IS NULL;

-- What was made from a file, such as a thumbnail.
CREATE TABLE blob_variant (
    id      TEXT NOT NULL,
    variant TEXT NOT NULL,
    bytes   TEXT NOT NULL,
    size    BIGINT NOT NULL,
    sum     BYTEA NOT NULL,
    type    TEXT NOT NULL,
    PRIMARY KEY (id, variant)
);
CREATE UNIQUE INDEX blob_variant_bytes ON blob_variant (bytes);

-- Keys on the media store that no row above refers to: not yet, or not any more.
CREATE TABLE blob_loose (
    bytes   TEXT PRIMARY KEY,
    due     BIGINT NOT NULL, -- from when they may be removed
    claimed BOOLEAN NOT NULL -- they are being removed: too late to refer to them
);
CREATE INDEX blob_loose_due ON blob_loose (due);
