-- Rooms that are conversations. The JID of a room is first in xmpp_conversation, and second is empty there.
CREATE TABLE xmpp_room (
    room         TEXT PRIMARY KEY, -- bare JID
    conversation TEXT NOT NULL,
    checked      BIGINT NOT NULL, -- when the lists were read; 0 if they must be read again
    frozen       TEXT NOT NULL    -- why no key of the room is made or given; empty if they are
);

-- The members of rooms. A member may have the keys whose position is greater than since.
CREATE TABLE xmpp_member (
    conversation TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    since        BIGINT NOT NULL,
    PRIMARY KEY (conversation, user_id)
);
CREATE INDEX xmpp_member_user ON xmpp_member (user_id);
