package cache

import "github.com/prometheus/client_golang/prometheus"

// Results of a question to the cache.
const (
	hit     = "hit"
	miss    = "miss"
	failure = "failure"
)

type cacheMetrics struct {
	up       prometheus.Gauge
	requests *prometheus.CounterVec
}

func newCacheMetrics() cacheMetrics {
	m := cacheMetrics{
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "cache_up", Help: "1 if the last question to Redis was answered.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cache_requests_total", Help: "Questions to Redis, by result.",
		}, []string{"result"}),
	}
	for _, result := range []string{hit, miss, failure} {
		m.requests.WithLabelValues(result)
	}
	return m
}

// Collectors are the cache's metrics.
func (c *Cache) Collectors() []prometheus.Collector {
	return []prometheus.Collector{c.metrics.up, c.metrics.requests}
}

func (m cacheMetrics) answered(result string) {
	m.requests.WithLabelValues(result).Inc()
	if result == failure {
		m.up.Set(0)
	} else {
		m.up.Set(1)
	}
}
