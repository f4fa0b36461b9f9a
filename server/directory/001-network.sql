-- Rows belong to a user of one network: its name is written before the user's id. Until now there were two networks,
-- and the ids of Matrix users began with "@".
UPDATE directory_device SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
UPDATE directory_identity SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
UPDATE directory_signature SET signer = CASE WHEN signer LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || signer,
    user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
UPDATE directory_change SET user_id = CASE WHEN user_id LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || user_id;
UPDATE directory_change SET viewer = CASE WHEN viewer LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || viewer WHERE viewer <> '';
