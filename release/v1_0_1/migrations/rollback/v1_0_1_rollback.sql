-- Undoes both migrations of 1.0.1. Only for a database that nothing of 1.0.1
-- uses any more; going back to 1.0.0 does not need it. What the columns hold is
-- lost.

DROP INDEX CONCURRENTLY IF EXISTS idx_missions_status_created;

DROP INDEX CONCURRENTLY IF EXISTS idx_evaluations_mission_timestamp;

DROP INDEX CONCURRENTLY IF EXISTS idx_traces_span_id;

ALTER TABLE missions
    DROP COLUMN IF EXISTS trace_id,
    DROP COLUMN IF EXISTS span_id;
