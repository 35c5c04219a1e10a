-- Columns that tie a mission to its trace (TARS-1004). Nullable and without a
-- default: the table is not rewritten, and 1.0.0 neither reads nor writes them.

ALTER TABLE missions
    ADD COLUMN IF NOT EXISTS trace_id text,
    ADD COLUMN IF NOT EXISTS span_id text;
