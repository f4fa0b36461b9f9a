-- Files belong to a user of one network: the name of the network stands before the user's id. Until now there were two
-- networks, and ids of users of Matrix began with "@".
UPDATE blob SET owner = CASE WHEN owner LIKE '@%' THEN 'matrix ' ELSE 'ca ' END || owner;
