-- Conversations and their logs are those of the set "conversation" now.
INSERT INTO conversation (network, id, kind, creator, created)
    SELECT 'ca', id, profile, 'ca ' || creator, created FROM ca_conversation;
INSERT INTO conversation_member (network, conv, user_id, role, joined, ended)
    SELECT 'ca', conv, 'ca ' || user_id, CASE WHEN chosen AND NOT gone THEN 'chosen' ELSE '' END, joined,
        CASE WHEN gone THEN (SELECT pos FROM store_position WHERE one = 1) END
    FROM ca_member;
INSERT INTO conversation_message (network, conv, pos, id, sender, device, type, form, body, sum, time)
    SELECT 'ca', conv, pos, id, 'ca ' || sender, device, kind, form, body, sum, time FROM ca_message;
DROP TABLE ca_message;
DROP TABLE ca_member;
DROP TABLE ca_conversation;
