-- Rows belong to a user of one network: its name is written before the user's id. Until now there were two networks,
-- and the ids of Matrix users began with "@".
UPDATE mailbox_message SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id,
    sender = CASE WHEN sender LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || sender;
UPDATE mailbox_cursor SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
UPDATE mailbox_txn SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
UPDATE mailbox_full SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id,
    sender = CASE WHEN sender LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || sender;
