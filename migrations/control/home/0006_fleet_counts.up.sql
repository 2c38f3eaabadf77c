-- Counting a fleet by index alone. :"schema" is the control schema's name. Equal keys are stored once, so that the
-- indexes stay small; a row that is neither paused nor worked at is in the first one only.

CREATE INDEX target_counted ON :"schema".target (line, source, settled, outcome)
    WHERE source IS NOT NULL AND gone_at IS NULL;
CREATE INDEX target_paused ON :"schema".target (line, source, settled, outcome)
    WHERE source IS NOT NULL AND gone_at IS NULL AND paused_at IS NOT NULL;
CREATE INDEX target_at_work ON :"schema".target (line, source, settled, outcome, claimed_until)
    WHERE source IS NOT NULL AND gone_at IS NULL AND paused_at IS NULL AND claimed_by IS NOT NULL;
-- Those that a person had tried again, which each round of a fleet asks for.
CREATE INDEX job_pending ON :"schema".job (target_id, bundle_id) WHERE state = 'pending';

-- An index alone does only where pages are known to be visible to all, and VACUUM is who says so.
ALTER TABLE :"schema".target SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
