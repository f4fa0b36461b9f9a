-- Rows belong to a user of one network: its name is written before the user's id. Until now there were two networks,
-- and the ids of Matrix users began with "@".
UPDATE vault_data SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
UPDATE vault_backup SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
UPDATE vault_backup_key SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
UPDATE vault_dehydrated SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
