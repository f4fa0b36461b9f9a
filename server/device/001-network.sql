-- Rows belong to a user of one network: the name of the network stands before the user's id. Until now there were
-- two networks, and ids of users of Matrix began with "@".
UPDATE device SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
UPDATE device_token SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
