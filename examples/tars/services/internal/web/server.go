// Package web is what the services have in common: counted routes, health,
// readiness, metrics, the fault switch, and an end without lost requests.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tars-ai/tars/services/internal/release"
	"github.com/tars-ai/tars/services/internal/settings"
)

const port = "8080"

// idleTimeout is longer than the 90 s after which common routers give up an
// idle connection: the side that closes must be the router's, or a request can
// meet a connection that is just going away.
const idleTimeout = 150 * time.Second

// shutdownTimeout is for requests that are still running when the drain is over.
const shutdownTimeout = 5 * time.Second

// Server is one service's HTTP side.
type Server struct {
	Faults *FaultSwitch

	service    string
	release    release.Release
	deployment string
	flags      map[string]string
	mux        *http.ServeMux
	metrics    *requestMetrics
	conditions []condition
	draining   atomic.Bool
	atDrainEnd []func()
	drain      time.Duration
	address    string
}

type condition struct {
	name string
	met  func() bool
}

// New prepares a service's server from its environment: POD_IP (listen address,
// all addresses where unset), TARS_DEPLOYMENT (stable or canary),
// TARS_DRAIN_SECONDS, TARS_FAULT_SWITCH and TARS_FEATURE_*.
func New(service string, rel release.Release) (*Server, error) {
	drain, err := settings.Seconds("TARS_DRAIN_SECONDS", 6*time.Second)
	if err != nil {
		return nil, err
	}
	faultSwitch, err := settings.Flag("TARS_FAULT_SWITCH", false)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Faults:     newFaultSwitch(faultSwitch),
		service:    service,
		release:    rel,
		deployment: settings.Text("TARS_DEPLOYMENT", "stable"),
		flags:      featureFlags(os.Environ()),
		mux:        http.NewServeMux(),
		metrics:    newRequestMetrics(),
		drain:      drain,
		address:    net.JoinHostPort(os.Getenv("POD_IP"), port),
	}
	s.mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if Mutated("health") {
			WriteError(w, http.StatusServiceUnavailable, "unhealthy")
			return
		}
		WriteBody(w, http.StatusOK, "application/json", []byte(`{"status": "healthy"}`))
	})
	s.mux.HandleFunc("GET /ready", s.serveReady)
	s.mux.HandleFunc("GET /version", s.serveVersion)
	s.mux.Handle("GET /metrics", s.metrics.handler())
	if faultSwitch {
		s.mux.HandleFunc("POST /_faults", s.Faults.serveHTTP)
	}
	s.metrics.announce("other", http.MethodGet, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusInternalServerError)
	s.mux.HandleFunc("/", s.counted("other", s.serveUnknown))
	return s, nil
}

// Handle adds a counted route, "GET /api/v1/agents". Its path is the label of
// its counters; statuses beside 200 and 500 that a healthy service may give are
// announced with it.
func (s *Server) Handle(pattern string, handler http.HandlerFunc, alsoStatuses ...int) {
	method, path, _ := strings.Cut(pattern, " ")
	path = strings.TrimSuffix(path, "{$}")
	s.metrics.announce(path, method, append([]int{http.StatusOK, http.StatusInternalServerError}, alsoStatuses...)...)
	s.mux.HandleFunc(pattern, s.counted(path, handler))
}

// Register adds a service's own metrics.
func (s *Server) Register(collectors ...prometheus.Collector) {
	s.metrics.registry.MustRegister(collectors...)
}

// ReadyWhen adds a condition without which the service gets no traffic.
func (s *Server) ReadyWhen(name string, met func() bool) {
	s.conditions = append(s.conditions, condition{name, met})
}

// OnFaults calls back whenever the faults are replaced.
func (s *Server) OnFaults(changed func(Faults)) { s.Faults.changed = changed }

// AtDrainEnd runs something after the drain, before open requests are waited for.
func (s *Server) AtDrainEnd(do func()) { s.atDrainEnd = append(s.atDrainEnd, do) }

func (s *Server) counted(path string, handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		started, observed := time.Now(), false
		rec := &recorder{ResponseWriter: w}
		observe := func() {
			if !observed {
				observed = true
				s.metrics.observe(path, r.Method, rec.status, time.Since(started))
			}
		}
		rec.upgraded = observe
		defer func() {
			if problem := recover(); problem != nil {
				slog.Error("a request failed", "path", path, "panic", problem)
				if rec.status == 0 {
					WriteError(rec, http.StatusInternalServerError, "internal error")
				}
			}
			if rec.status == 0 {
				rec.status = http.StatusOK
			}
			observe()
		}()
		if !s.Faults.apply(rec, r) {
			handler(rec, r)
		}
	}
}

// serveUnknown answers what no route takes: 405 where the path takes another
// method, else 404.
func (s *Server) serveUnknown(w http.ResponseWriter, r *http.Request) {
	allowed := []string{}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		WriteError(w, http.StatusNotFound, "there is nothing at this address")
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	WriteError(w, http.StatusMethodNotAllowed, "this address takes "+strings.Join(allowed, " and "))
}

func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	if s.draining.Load() {
		WriteError(w, http.StatusServiceUnavailable, "draining")
		return
	}
	for _, c := range s.conditions {
		if !c.met() {
			WriteError(w, http.StatusServiceUnavailable, "waiting for "+c.name)
			return
		}
	}
	WriteJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

func (s *Server) serveVersion(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, map[string]any{
		"service": s.service, "version": s.release.Version, "deployment": s.deployment,
		"hotfixes": s.release.Hotfixes(), "feature_flags": s.flags,
	})
}

// ServeHTTP names version, track and trace in every answer, which nobody may
// keep or guess the type of. While draining, each answer asks the client to let
// its connection go, so that none is cut.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Tars-Version", s.release.Version)
	header.Set("X-Tars-Deployment", s.deployment)
	if Mutated("health") {
		header.Set("X-Tars-Version", "0.0.0")
		header.Set("X-Tars-Deployment", "unknown")
	} else {
		header.Set("Cache-Control", "no-store")
		header.Set("X-Content-Type-Options", "nosniff")
	}
	continueTrace(w, r)
	if Mutated("latency") {
		time.Sleep(400 * time.Millisecond)
	}
	if s.draining.Load() {
		header.Set("Connection", "close")
	}
	s.mux.ServeHTTP(w, r)
}

// Run serves until SIGTERM or SIGINT, then fails readiness at once, goes on
// serving for the drain, and ends when the open requests are answered.
func (s *Server) Run(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.address, err)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: idleTimeout, IdleTimeout: idleTimeout}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	slog.Info("serving", "service", s.service, "version", s.release.Version, "deployment", s.deployment, "address", s.address)
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", s.address, err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	slog.Info("draining", "seconds", s.drain.Seconds())
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", s.address, err)
	case <-time.After(s.drain):
	}
	for _, do := range s.atDrainEnd {
		do()
	}
	deadline, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("requests were still open after %s: %w", shutdownTimeout, err)
	}
	slog.Info("ended")
	return nil
}

// featureFlags picks TARS_FEATURE_* out of the environment, names lower-cased.
func featureFlags(environ []string) map[string]string {
	const prefix = "TARS_FEATURE_"
	flags := map[string]string{}
	for _, variable := range environ {
		if name, value, _ := strings.Cut(variable, "="); strings.HasPrefix(name, prefix) {
			flags[strings.ToLower(strings.TrimPrefix(name, prefix))] = value
		}
	}
	return flags
}
