-- A bundle's signatures travel with it. :"schema" is the control schema's name.

ALTER TABLE :"schema".bundle ADD COLUMN seal text;
COMMENT ON COLUMN :"schema".bundle.seal IS
    'The bundle.sig that it was published with: nobody need believe it, for workers check it by keys of their own.';
