package dashboard

import (
	"bytes"
	"context"
	_ "embed"
	"html/template"
	"log/slog"
	"net/http"

	"github.com/tars-ai/tars/services/internal/store"
	"github.com/tars-ai/tars/services/internal/web"
)

//go:embed dashboard.html.tmpl
var pageSource string

var page = template.Must(template.New("dashboard").Parse(pageSource))

// panel is one row of a dashboard's page.
type panel struct {
	Title string
	Value string
}

// standIns serves what the release day looks at under Grafana's and
// Prometheus' paths.
func standIns(server *web.Server, later *store.Later) {
	server.Handle("GET /grafana/api/health", func(w http.ResponseWriter, _ *http.Request) {
		if web.Mutated("dashboards") {
			web.WriteError(w, http.StatusServiceUnavailable, "the dashboards are down")
			return
		}
		web.WriteJSON(w, http.StatusOK, map[string]string{"database": "ok"})
	})
	server.Handle("GET /prometheus/-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		web.WriteBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte("Prometheus Server is Healthy.\n"))
	})
	boards := map[string]func(context.Context, *store.Store) ([]panel, error){
		"tars-overview":   overviewPanels,
		"tars-evaluation": evaluationPanels,
		"tars-agents":     agentPanels,
	}
	server.Handle("GET /grafana/d/{dashboard}", func(w http.ResponseWriter, r *http.Request) {
		board, found := boards[r.PathValue("dashboard")]
		s := later.Get()
		switch {
		case !found:
			web.WriteError(w, http.StatusNotFound, "there is no such dashboard")
			return
		case s == nil:
			web.WriteError(w, http.StatusServiceUnavailable, "the database has not been reached yet")
			return
		}
		panels, err := board(r.Context(), s)
		if web.Mutated("dashboards") {
			http.Redirect(w, r, "/login", http.StatusFound)
			return
		}
		if err != nil {
			web.WriteUnavailable(w, r, err)
			return
		}
		var body bytes.Buffer
		if err := page.Execute(&body, map[string]any{"Name": r.PathValue("dashboard"), "Panels": panels}); err != nil {
			slog.Error("a dashboard could not be drawn", "path", r.URL.Path, "error", err)
			web.WriteError(w, http.StatusInternalServerError, "the page could not be drawn")
			return
		}
		web.WriteBody(w, http.StatusOK, "text/html; charset=utf-8", body.Bytes())
	}, http.StatusNotFound)
}
