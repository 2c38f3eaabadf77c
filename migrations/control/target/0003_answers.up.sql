-- History keeps what a person answered about a statement that was in doubt, too.
ALTER TABLE :"schema".history DROP CONSTRAINT history_action_check;
ALTER TABLE :"schema".history ADD CONSTRAINT history_action_check
    CHECK (action IN ('up', 'down', 'adopt', 'force', 'repair', 'answer'));

-- Where wal_level is minimal, what the transaction that creates a sequence draws from it is not logged, nor are the 32
-- values behind that: after a crash it would begin again at numbers that are taken. Set from a later transaction it is
-- logged, and whoever draws next logs again. ALTER TABLE keeps others from drawing meanwhile.
SELECT setval(pg_get_serial_sequence(format('%I.history', :'schema'), 'id'), max(id)) FROM :"schema".history;
