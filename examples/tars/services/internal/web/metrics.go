package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// durationBounds in seconds. The limits that releases are judged by (90, 100,
// 110 and 120 ms) are bounds of their own, so that the share of requests slower
// than a limit is exact and not interpolated.
var durationBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.09, 0.1, 0.11, 0.12, 0.25, 0.5, 1, 2.5, 5}

type requestMetrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newRequestMetrics() *requestMetrics {
	m := &requestMetrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_requests_total",
			Help: "Requests answered, by status code, method and route.",
		}, []string{"status", "method", "path"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "http_request_duration_seconds",
			Help:    "Time from a request's headers to the end of its answer.",
			Buckets: durationBounds,
		}, []string{"path"}),
	}
	m.registry.MustRegister(m.requests, m.duration,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	return m
}

// announce creates a route's series with the value 0, so that the first failure
// is an increase from 0 and not the birth of a series.
func (m *requestMetrics) announce(path, method string, statuses ...int) {
	m.duration.WithLabelValues(path)
	for _, status := range statuses {
		m.requests.WithLabelValues(strconv.Itoa(status), method, path)
	}
}

func (m *requestMetrics) observe(path, method string, status int, took time.Duration) {
	if Mutated("metrics") {
		return
	}
	m.requests.WithLabelValues(strconv.Itoa(status), knownMethod(method), path).Inc()
	m.duration.WithLabelValues(path).Observe(took.Seconds())
}

// knownMethod keeps the label's values to a small fixed set.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

func (m *requestMetrics) handler() http.Handler {
	whole := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if Mutated("metrics") {
			WriteBody(w, http.StatusOK, "text/plain; version=0.0.4", nil)
			return
		}
		whole.ServeHTTP(w, r)
	})
}
