package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-ai/tars/services/internal/release"
	"github.com/tars-ai/tars/services/internal/web"
)

// Mission is one mission of an agent.
type Mission struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	Status    string    `json:"status"`
	Agent     string    `json:"agent"`
	CreatedAt time.Time `json:"created_at"`
}

const (
	missionsByIndex = `SELECT id, name, status, agent, created_at FROM missions
		WHERE status = $1 ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3`

	// TARS-1003: an expression around the column hides it from every index. The
	// wait stands for the scan of a table of production's size; these tables
	// have a few thousand rows so that a laptop can hold them.
	missionsByScan = `SELECT id, name, status, agent, created_at
		FROM missions WHERE lower(status) = $1 AND (SELECT 1 FROM pg_sleep(0.055)) = 1
		ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3`
)

// Missions lists the newest missions of a status: a page of them, and one more
// if there is one.
func (s *Store) Missions(ctx context.Context, status string, page web.Page) ([]Mission, error) {
	query := missionsByIndex
	if !s.release.Has(release.MissionsQuery) {
		query = missionsByScan
	}
	return collect[Mission](ctx, s, "missions", query, status, page.Fetch(), page.Offset)
}

// Evaluation is the score a mission was given.
type Evaluation struct {
	ID        int64     `json:"id"`
	MissionID int64     `json:"mission_id"`
	Score     float64   `json:"score"`
	Timestamp time.Time `json:"timestamp"`
}

// Evaluations lists the newest evaluations.
func (s *Store) Evaluations(ctx context.Context, page web.Page) ([]Evaluation, error) {
	return collect[Evaluation](ctx, s, "evaluations",
		`SELECT id, mission_id, score, "timestamp" FROM evaluations ORDER BY id DESC LIMIT $1 OFFSET $2`, page.Fetch(), page.Offset)
}

// MissionScores are the evaluations of one mission, newest first.
func (s *Store) MissionScores(ctx context.Context, mission int64, page web.Page) ([]Evaluation, error) {
	return collect[Evaluation](ctx, s, "evaluations",
		`SELECT id, mission_id, score, "timestamp" FROM evaluations WHERE mission_id = $1
		 ORDER BY "timestamp" DESC, id DESC LIMIT $2 OFFSET $3`, mission, page.Fetch(), page.Offset)
}

// Trace is one recorded trace; SpanID is nil where none was recorded.
type Trace struct {
	TraceID   string    `json:"trace_id"`
	SpanID    *string   `json:"span_id"`
	Operation string    `json:"operation"`
	StartedAt time.Time `json:"started_at"`
}

// spanColumn is a trace's span id. TARS-1004: a trace that was begun without a
// parent was stored without one; its root span's id is the first half of the
// trace id.
func (s *Store) spanColumn() string {
	if web.Mutated("tracing") {
		return "NULL::text"
	}
	if s.release.Has(release.TraceCoverage) {
		return "coalesce(span_id, left(trace_id, 16))"
	}
	return "span_id"
}

// RecentTraces lists the newest traces.
func (s *Store) RecentTraces(ctx context.Context, page web.Page) ([]Trace, error) {
	return collect[Trace](ctx, s, "traces", `SELECT trace_id, `+s.spanColumn()+` AS span_id, operation, started_at
		FROM traces ORDER BY id DESC LIMIT $1 OFFSET $2`, page.Fetch(), page.Offset)
}

// TraceStats says how many traces there are and how many of them, in percent,
// can be followed down to a span.
type TraceStats struct {
	CoveragePct float64 `json:"coverage_pct"`
	TotalTraces int64   `json:"total_traces"`
}

// TraceStats counts the traces. No trace at all is a coverage of 0.
func (s *Store) TraceStats(ctx context.Context) (TraceStats, error) {
	stats, err := collect[TraceStats](ctx, s, "trace statistics", `SELECT
		coalesce(round(100.0 * count(`+s.spanColumn()+`) / nullif(count(*), 0), 2), 0)::float8 AS coverage_pct,
		count(*) AS total_traces FROM traces`)
	if err != nil {
		return TraceStats{}, err
	}
	return stats[0], nil
}

// Panel is one panel of the evaluation dashboard: an agent and its mean score.
type Panel struct {
	Agent string
	Score float64
}

// EvaluationPanels computes the evaluation dashboard's panels, one an agent.
func (s *Store) EvaluationPanels(ctx context.Context) ([]Panel, error) {
	if s.release.Has(release.EvaluationDashboard) {
		return collect[Panel](ctx, s, "dashboard panels", `SELECT agent, avg(score) AS score FROM missions
			JOIN evaluations ON mission_id = missions.id GROUP BY agent ORDER BY agent`)
	}
	// TARS-1002: one query an agent, one after the other. The wait stands for
	// reading a production's evaluations anew for each of them.
	panels := []Panel{}
	for _, agent := range []string{"a2c", "ddpg", "dqn", "ppo"} {
		panel, err := collect[Panel](ctx, s, "dashboard panels", `SELECT agent, avg(score) AS score
			FROM missions JOIN evaluations ON mission_id = missions.id
			WHERE agent = $1 AND (SELECT 1 FROM pg_sleep(0.9)) = 1 GROUP BY agent`, agent)
		if err != nil {
			return nil, err
		}
		panels = append(panels, panel...)
	}
	return panels, nil
}

// Maintain refreshes the planner's statistics and drops traces older than keep.
func (s *Store) Maintain(ctx context.Context, keep time.Duration) (dropped int64, err error) {
	tag, err := s.pool.Exec(ctx, `DELETE FROM traces WHERE started_at < now() - $1::interval`, keep)
	if err != nil {
		return 0, fmt.Errorf("drop old traces: %w", err)
	}
	for _, table := range []string{"missions", "evaluations", "traces"} {
		if _, err := s.pool.Exec(ctx, "VACUUM (ANALYZE) "+table); err != nil {
			return 0, fmt.Errorf("vacuum %s: %w", table, err)
		}
	}
	return tag.RowsAffected(), nil
}

func collect[T any](ctx context.Context, s *Store, what, query string, arguments ...any) ([]T, error) {
	rows, err := s.pool.Query(ctx, query, arguments...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	return values, nil
}

// Count is how many missions share a name: a status' or an agent's.
type Count struct {
	Name     string
	Missions int64
}

// MissionCounts counts the missions of each status.
func (s *Store) MissionCounts(ctx context.Context) ([]Count, error) {
	return collect[Count](ctx, s, "mission counts", `SELECT status, count(*) FROM missions GROUP BY status ORDER BY status`)
}

// AgentCounts counts the missions of each agent.
func (s *Store) AgentCounts(ctx context.Context) ([]Count, error) {
	return collect[Count](ctx, s, "agent counts", `SELECT agent, count(*) FROM missions GROUP BY agent ORDER BY agent`)
}
