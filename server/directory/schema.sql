-- The public keys of each device, as their owner uploaded them.
CREATE TABLE directory_device (
    user_id TEXT NOT NULL,
    device  TEXT NOT NULL,
    body    BYTEA NOT NULL,
    PRIMARY KEY (user_id, device)
);

-- The public keys of the person behind the devices, one for each use.
CREATE TABLE directory_identity (
    user_id TEXT NOT NULL,
    usage   TEXT NOT NULL,
    key     TEXT NOT NULL, -- the public key in the network's text form
    body    BYTEA NOT NULL,
    PRIMARY KEY (user_id, usage)
);

-- Signatures by others that only their maker sees.
CREATE TABLE directory_signature (
    signer    TEXT NOT NULL,
    user_id   TEXT NOT NULL, -- the holder of the key that is signed
    target    TEXT NOT NULL, -- that key
    key       TEXT NOT NULL, -- the signer's key
    signature TEXT NOT NULL,
    PRIMARY KEY (signer, user_id, target, key)
);
CREATE INDEX directory_signature_user ON directory_signature (user_id);

-- Which users changed when, and which may know of it.
CREATE TABLE directory_change (
    user_id TEXT NOT NULL,
    viewer  TEXT NOT NULL, -- empty: all who see the user
    pos     BIGINT NOT NULL,
    time    BIGINT NOT NULL,
    PRIMARY KEY (user_id, viewer, pos)
);
CREATE INDEX directory_change_pos ON directory_change (pos);
