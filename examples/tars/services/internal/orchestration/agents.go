package orchestration

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/tars-ai/tars/services/internal/web"
)

type agent struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Status string `json:"status"`
}

var (
	agents = []agent{
		{"ppo-1", "ppo", "running"}, {"dqn-1", "dqn", "running"}, {"a2c-1", "a2c", "running"}, {"ddpg-1", "ddpg", "idle"},
	}
	agentTypes    = []string{"a2c", "ddpg", "dqn", "ppo"}
	agentStatuses = []string{"idle", "running"}
)

func agentRoutes(server *web.Server) {
	server.Handle("GET /api/v1/agents", func(w http.ResponseWriter, r *http.Request) {
		page, ok := web.ReadPage(w, r, 100)
		if !ok {
			return
		}
		kind, status := r.URL.Query().Get("type"), r.URL.Query().Get("status")
		switch {
		case kind != "" && !slices.Contains(agentTypes, kind):
			web.WriteError(w, http.StatusBadRequest, fmt.Sprintf("type is %q, expected one of %v", kind, agentTypes))
			return
		case status != "" && !slices.Contains(agentStatuses, status):
			web.WriteError(w, http.StatusBadRequest, fmt.Sprintf("status is %q, expected one of %v", status, agentStatuses))
			return
		}
		found := []agent{}
		for _, a := range agents {
			if (kind == "" || a.Type == kind) && (status == "" || a.Status == status) {
				found = append(found, a)
			}
		}
		first := min(page.Offset, len(found))
		last := min(first+page.Fetch(), len(found))
		web.WriteJSON(w, http.StatusOK, web.PageOf(page, "agents", found[first:last]))
	})
	server.Handle("GET /api/v1/agents/{name}", withAgent(func(w http.ResponseWriter, a agent) {
		web.WriteJSON(w, http.StatusOK, a)
	}), http.StatusNotFound)
	restart := withAgent(func(w http.ResponseWriter, a agent) {
		web.WriteJSON(w, http.StatusAccepted, map[string]string{"restarting": a.Name})
	})
	server.Handle("POST /api/v1/agents/{name}/restart", web.WithScope(web.ScopeWrite, func(w http.ResponseWriter, r *http.Request, _ web.Grant) {
		restart(w, r)
	}), http.StatusUnauthorized, http.StatusForbidden)
}

func withAgent(answer func(http.ResponseWriter, agent)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		at := slices.IndexFunc(agents, func(a agent) bool { return a.Name == r.PathValue("name") })
		if at < 0 {
			web.WriteError(w, http.StatusNotFound, "there is no such agent")
			return
		}
		answer(w, agents[at])
	}
}
