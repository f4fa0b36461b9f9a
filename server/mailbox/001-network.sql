-- Rows belong to a user of one network: the name of the network stands before the user's id. Until now there were
-- two networks, and ids of users of Matrix began with "@".
UPDATE mailbox_message SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id,
    sender = CASE WHEN sender LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || sender;
UPDATE mailbox_cursor SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
UPDATE mailbox_txn SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
UPDATE mailbox_full SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id,
    sender = CASE WHEN sender LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || sender;
