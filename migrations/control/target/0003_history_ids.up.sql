-- Where wal_level is minimal, PostgreSQL does not log what the transaction that creates a sequence draws from it: after a
-- crash the sequence would begin again, at numbers that are taken. Set from a later transaction, it is logged.
SELECT setval(pg_get_serial_sequence(format('%I.history', :'schema'), 'id'), max(id)) FROM :"schema".history;
