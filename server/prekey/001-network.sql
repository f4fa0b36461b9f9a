-- Rows belong to a user of one network: its name is written before the user's id. Until now there were two networks,
-- and the ids of Matrix users began with "@".
UPDATE prekey_onetime SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
UPDATE prekey_cursor SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
UPDATE prekey_fallback SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
DROP TABLE prekey_answer;
