-- Messages that wait count for the user who sent them.
ALTER TABLE mtproto_message ADD COLUMN sender BIGINT;
UPDATE mtproto_message SET sender = (SELECT CASE WHEN c.admin_key = mtproto_message.key_id THEN c.participant ELSE c.admin END
    FROM mtproto_chat c WHERE c.id = mtproto_message.chat);
