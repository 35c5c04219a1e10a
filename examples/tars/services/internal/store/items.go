package store

import (
	"context"
	"errors"
)

// ErrNoRow says that there is no row with the key that was asked for.
var ErrNoRow = errors.New("there is no such row")

func one[T any](rows []T, err error) (T, error) {
	var none T
	switch {
	case err != nil:
		return none, err
	case len(rows) == 0:
		return none, ErrNoRow
	}
	return rows[0], nil
}

// Mission is the mission with an id, else ErrNoRow.
func (s *Store) Mission(ctx context.Context, id int64) (Mission, error) {
	return one(collect[Mission](ctx, s, "a mission", `SELECT id, name, status, agent, created_at FROM missions WHERE id = $1`, id))
}

// Evaluation is the evaluation with an id, else ErrNoRow.
func (s *Store) Evaluation(ctx context.Context, id int64) (Evaluation, error) {
	return one(collect[Evaluation](ctx, s, "an evaluation", `SELECT id, mission_id, score, "timestamp" FROM evaluations WHERE id = $1`, id))
}

// Trace is the trace with an id, else ErrNoRow.
func (s *Store) Trace(ctx context.Context, id string) (Trace, error) {
	return one(collect[Trace](ctx, s, "a trace", `SELECT trace_id, `+s.spanColumn()+` AS span_id, operation, started_at
		FROM traces WHERE trace_id = $1`, id))
}

// AddMission queues a mission.
func (s *Store) AddMission(ctx context.Context, name, agent string) (Mission, error) {
	return one(collect[Mission](ctx, s, "the new mission", `INSERT INTO missions (name, status, agent) VALUES ($1, 'queued', $2)
		RETURNING id, name, status, agent, created_at`, name, agent))
}

// AddEvaluation records a mission's score.
func (s *Store) AddEvaluation(ctx context.Context, mission int64, score float64) (Evaluation, error) {
	return one(collect[Evaluation](ctx, s, "the new evaluation", `INSERT INTO evaluations (mission_id, score)
		SELECT id, $2 FROM missions WHERE id = $1 RETURNING id, mission_id, score, "timestamp"`, mission, score))
}
