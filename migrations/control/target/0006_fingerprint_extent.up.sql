-- By what a look sees that nothing has changed since the fingerprint was taken, without a look at every object: the
-- catalogue keeps in each row which transaction wrote it. :"schema" is the control schema's name.
ALTER TABLE :"schema".fingerprint ADD COLUMN horizon xid8, ADD COLUMN extent bigint, ADD COLUMN taken_in xid8;
COMMENT ON COLUMN :"schema".fingerprint.horizon IS
    'The oldest transaction whose changes the fingerprint may lack: whatever is older, it has seen.';
COMMENT ON COLUMN :"schema".fingerprint.extent IS
    'How many rows of the catalogue it was taken of.';
COMMENT ON COLUMN :"schema".fingerprint.taken_in IS
    'The transaction that wrote both; where the row is of another one, an older program or a restore wrote it.';
