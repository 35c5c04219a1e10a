// Package insight is the insight engine: evaluations of missions and the traces
// behind them.
package insight

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/tars-ai/tars/services/internal/cache"
	"github.com/tars-ai/tars/services/internal/release"
	"github.com/tars-ai/tars/services/internal/store"
	"github.com/tars-ai/tars/services/internal/web"
)

var traceID = regexp.MustCompile(`^[0-9a-f]{32}$`)

const (
	keep           = time.Second
	maxConnections = 4
)

// Run serves until the process is asked to end.
func Run(ctx context.Context, rel release.Release) error {
	server, err := web.New("insight-engine", rel)
	if err != nil {
		return err
	}
	hot := cache.Open(rel)
	defer hot.Close()
	later := store.Open(ctx, rel, maxConnections)
	defer later.Close()
	server.Register(later)
	server.Register(hot.Collectors()...)
	server.ReadyWhen("the database", later.Ready)
	routes(server, later, hot)
	return server.Run(ctx)
}

func routes(server *web.Server, later *store.Later, hot *cache.Cache) {
	server.Handle("GET /api/v1/traces/recent", func(w http.ResponseWriter, r *http.Request) {
		page, ok := web.ReadPage(w, r, 10)
		if !ok {
			return
		}
		store.Answer(w, r, later, hot, fmt.Sprintf("traces:%v", page), keep, func(ctx context.Context, s *store.Store) (map[string]any, error) {
			traces, err := s.RecentTraces(ctx, page)
			return web.PageOf(page, "traces", traces), err
		})
	})
	server.Handle("GET /api/v1/traces/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		if !traceID.MatchString(id) {
			web.WriteError(w, http.StatusBadRequest, fmt.Sprintf("trace is %q, expected 32 hexadecimal digits", id))
			return
		}
		store.Answer(w, r, later, hot, "", keep, func(ctx context.Context, s *store.Store) (store.Trace, error) {
			return s.Trace(ctx, id)
		})
	}, http.StatusNotFound)
	server.Handle("GET /api/v1/traces/stats", func(w http.ResponseWriter, r *http.Request) {
		store.Answer(w, r, later, hot, "traces:stats", keep, func(ctx context.Context, s *store.Store) (store.TraceStats, error) {
			return s.TraceStats(ctx)
		})
	})
	server.Handle("GET /api/v1/evaluations", func(w http.ResponseWriter, r *http.Request) {
		page, ok := web.ReadPage(w, r, 20)
		if !ok {
			return
		}
		mission := int64(0)
		if text := r.URL.Query().Get("mission"); text != "" {
			var err error
			if mission, err = strconv.ParseInt(text, 10, 64); err != nil || mission < 1 {
				web.WriteError(w, http.StatusBadRequest, fmt.Sprintf("mission is %q, expected a mission's number", text))
				return
			}
		}
		store.Answer(w, r, later, hot, fmt.Sprintf("evaluations:%d:%v", mission, page), keep, func(ctx context.Context, s *store.Store) (map[string]any, error) {
			if mission != 0 {
				scores, err := s.MissionScores(ctx, mission, page)
				return web.PageOf(page, "evaluations", scores), err
			}
			newest, err := s.Evaluations(ctx, page)
			return web.PageOf(page, "evaluations", newest), err
		})
	})
	server.Handle("GET /api/v1/evaluations/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, ok := web.ID(w, r, "evaluation")
		if ok {
			store.Answer(w, r, later, hot, "", keep, func(ctx context.Context, s *store.Store) (store.Evaluation, error) {
				return s.Evaluation(ctx, id)
			})
		}
	}, http.StatusNotFound)
	server.Handle("POST /api/v1/evaluations", web.WithScope(web.ScopeWrite, func(w http.ResponseWriter, r *http.Request, _ web.Grant) {
		var given struct {
			MissionID int64   `json:"mission_id"`
			Score     float64 `json:"score"`
		}
		if web.ReadJSON(w, r, &given) {
			store.Answer(w, r, later, hot, "", keep, func(ctx context.Context, s *store.Store) (store.Evaluation, error) {
				return s.AddEvaluation(ctx, given.MissionID, given.Score)
			})
		}
	}), http.StatusUnauthorized, http.StatusForbidden)
}
