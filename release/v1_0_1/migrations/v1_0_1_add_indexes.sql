-- Indexes for 1.0.1 (TARS-1003, TARS-1004). Adds only: 1.0.0 runs on unchanged.
--
-- Each is built beside the running traffic, so each is a statement of its own
-- outside any transaction. A build that was broken off leaves an invalid index
-- behind, which IF NOT EXISTS would take for a finished one: whoever runs this
-- checks indisvalid afterwards.

CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_missions_status_created
    ON missions (status, created_at);

CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_evaluations_mission_timestamp
    ON evaluations (mission_id, "timestamp");

CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_traces_span_id
    ON traces (span_id);
