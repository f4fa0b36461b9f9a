-- Parts of files that devices upload, until a message names them.
CREATE TABLE mtproto_part (
    key_id  BIGINT NOT NULL,
    file_id BIGINT NOT NULL, -- drawn by the device
    part    BIGINT NOT NULL,
    blob    TEXT NOT NULL,
    size    BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (key_id, file_id, part)
);
CREATE INDEX mtproto_part_expires ON mtproto_part (expires);

-- Sealed files that messages name.
CREATE TABLE mtproto_file (
    id          BIGINT PRIMARY KEY,
    size        BIGINT NOT NULL,
    part_size   BIGINT NOT NULL, -- of every piece but the last
    fingerprint BIGINT NOT NULL,
    expires     BIGINT NOT NULL
);
CREATE INDEX mtproto_file_expires ON mtproto_file (expires);

CREATE TABLE mtproto_piece (
    file BIGINT NOT NULL,
    n    BIGINT NOT NULL,
    blob TEXT NOT NULL,
    PRIMARY KEY (file, n)
);
