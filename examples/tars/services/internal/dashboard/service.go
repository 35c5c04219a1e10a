// Package dashboard is the dashboard API: missions, and stand-ins for the
// Grafana and Prometheus that an installation reaches under the same host.
package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tars-ai/tars/services/internal/cache"
	"github.com/tars-ai/tars/services/internal/release"
	"github.com/tars-ai/tars/services/internal/settings"
	"github.com/tars-ai/tars/services/internal/store"
	"github.com/tars-ai/tars/services/internal/web"
)

const (
	keep           = time.Second
	maxConnections = 10
)

var statuses = []string{"active", "completed", "failed", "queued"}

// Run serves until the process is asked to end.
func Run(ctx context.Context, rel release.Release) error {
	cached, err := settings.Flag("TARS_FEATURE_MISSIONS_CACHE", true)
	if err != nil {
		return err
	}
	server, err := web.New("dashboard-api", rel)
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
	// The cache came with TARS-1003; 1.0.0 asked the database every time.
	server.Handle("GET /api/v1/missions", missions(later, hot, cached && rel.Has(release.MissionsQuery)))
	server.Handle("GET /api/v1/missions/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, ok := web.ID(w, r, "mission")
		if ok {
			store.Answer(w, r, later, hot, "", keep, func(ctx context.Context, s *store.Store) (store.Mission, error) {
				return s.Mission(ctx, id)
			})
		}
	}, http.StatusNotFound)
	server.Handle("POST /api/v1/missions", web.WithScope(web.ScopeWrite, addMission(later, hot)), http.StatusUnauthorized, http.StatusForbidden)
	server.HandleTokens()
	server.Handle("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		web.WriteJSON(w, http.StatusOK, map[string]string{"product": "T.A.R.S.", "version": rel.Version})
	})
	standIns(server, later)
	return server.Run(ctx)
}

func addMission(later *store.Later, hot *cache.Cache) func(http.ResponseWriter, *http.Request, web.Grant) {
	return func(w http.ResponseWriter, r *http.Request, _ web.Grant) {
		var given struct {
			Name  string `json:"name"`
			Agent string `json:"agent"`
		}
		if web.ReadJSON(w, r, &given) {
			store.Answer(w, r, later, hot, "", keep, func(ctx context.Context, s *store.Store) (store.Mission, error) {
				return s.AddMission(ctx, given.Name, given.Agent)
			})
		}
	}
}

func missions(later *store.Later, hot *cache.Cache, cached bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		page, ok := web.ReadPage(w, r, 100)
		if !ok {
			return
		}
		status := r.URL.Query().Get("status")
		if status == "" {
			status = "active"
		}
		if !slices.Contains(statuses, status) {
			web.WriteError(w, http.StatusBadRequest, fmt.Sprintf("status is %q, expected one of %v", status, statuses))
			return
		}
		key := ""
		if cached {
			key = fmt.Sprintf("missions:%s:%v", status, page)
		}
		store.Answer(w, r, later, hot, key, keep, func(ctx context.Context, s *store.Store) (map[string]any, error) {
			found, err := s.Missions(ctx, status, page)
			return web.PageOf(page, "missions", found), err
		})
	}
}
