-- A person who accepts a rewritten file says why: history keeps it. :"schema" is the control schema's name.

ALTER TABLE :"schema".history
    ADD COLUMN note text,
    DROP CONSTRAINT history_action_check,
    ADD CONSTRAINT history_action_check CHECK (action IN ('up', 'down', 'adopt', 'force', 'repair'));
COMMENT ON COLUMN :"schema".history.note IS 'Why, in the words of the person who did it.';

COMMENT ON COLUMN :"schema".fence.pinned IS
    'Which command pinned the target (down, goto, force, up N, admin adopt); workers leave it alone until resume, up or a publish.';
