-- Files belong to a user of one network: its name is written before the user's id. Until now there were two networks,
-- and the ids of Matrix users began with "@".
UPDATE blob SET owner = CASE WHEN owner LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || owner;
