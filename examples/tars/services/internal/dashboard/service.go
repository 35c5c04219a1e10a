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
	server.ReadyWhen("the database", later.Ready)
	// The cache came with TARS-1003; 1.0.0 asked the database every time.
	server.Handle("GET /api/v1/missions", missions(later, hot, cached && rel.Has(release.MissionsQuery)))
	server.Handle("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		web.WriteJSON(w, http.StatusOK, map[string]string{"product": "T.A.R.S.", "version": rel.Version})
	})
	standIns(server, later)
	return server.Run(ctx)
}

func missions(later *store.Later, hot *cache.Cache, cached bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		limit, ok := web.Limit(w, r, 100)
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
			key = fmt.Sprintf("missions:%s:%d", status, limit)
		}
		store.Answer(w, r, later, hot, key, keep, func(ctx context.Context, s *store.Store) (map[string]any, error) {
			found, err := s.Missions(ctx, status, limit)
			return map[string]any{"missions": found, "count": len(found)}, err
		})
	}
}
