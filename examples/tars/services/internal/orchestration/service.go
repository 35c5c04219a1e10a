// Package orchestration is the orchestration agent: the agents there are, and
// the WebSocket over which clients follow them.
package orchestration

import (
	"context"
	"net/http"
	"time"

	"github.com/tars-ai/tars/services/internal/cache"
	"github.com/tars-ai/tars/services/internal/release"
	"github.com/tars-ai/tars/services/internal/web"
)

// maxRetries is how often a client should try to get its session back.
const maxRetries = 5

// Run serves until the process is asked to end.
func Run(ctx context.Context, rel release.Release) error {
	server, err := web.New("orchestration-agent", rel)
	if err != nil {
		return err
	}
	hot := cache.Open(rel)
	defer hot.Close()
	reconnects := rel.Has(release.WebSocketReconnection)
	lifetime := time.Duration(0)
	if !reconnects {
		lifetime = defectiveLifetime
	}
	server.Register(hot.Collectors()...)
	hub := newHub(hot, server.Faults, reconnects, lifetime)
	routes(server, hub)
	return server.Run(ctx)
}

func routes(server *web.Server, hub *hub) {
	server.Register(hub.open, hub.reconnected)
	server.OnFaults(func(f web.Faults) {
		if f.WebSocketDrop {
			hub.closeAll("dropped by an injected fault")
		}
	})
	server.AtDrainEnd(hub.sayGoodbye)
	server.Handle("GET /ws", hub.serve, http.StatusSwitchingProtocols, http.StatusGone, http.StatusServiceUnavailable)
	server.Handle("GET /api/v1/websocket/stats", func(w http.ResponseWriter, _ *http.Request) {
		web.WriteJSON(w, http.StatusOK, hub.stats())
	})
	agentRoutes(server)
}
