package serve

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tarsrelease/rehearsal/internal/agent/usage"
)

// The names and labels are those of cAdvisor and kube-state-metrics, so that
// queries written for a usual cluster work unchanged.
var (
	perContainer = []string{"namespace", "pod", "container"}
	memoryBytes  = prometheus.NewDesc("container_memory_working_set_bytes",
		"Resident memory of the container's processes.", perContainer, nil)
	cpuSeconds = prometheus.NewDesc("container_cpu_usage_seconds_total",
		"CPU time used by the container's processes.", perContainer, nil)
	restarts = prometheus.NewDesc("kube_pod_container_status_restarts_total",
		"Restarts of the container.", perContainer, nil)
	podReady = prometheus.NewDesc("kube_pod_status_ready",
		"Whether the pod is ready.", []string{"namespace", "pod", "condition"}, nil)
)

// Metrics is the plain endpoint for Prometheus: /metrics and /healthz.
func (n Node) Metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{n})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", healthy)
	return mux
}

type collector struct{ node Node }

func (collector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{memoryBytes, cpuSeconds, restarts, podReady} {
		out <- desc
	}
}

func (c collector) Collect(out chan<- prometheus.Metric) {
	for _, pod := range c.node.Manager.Snapshots() {
		namespace, name := pod.Pod.Namespace, pod.Pod.Name
		ready := map[bool]float64{true: 1}[pod.Ready()]
		out <- prometheus.MustNewConstMetric(podReady, prometheus.GaugeValue, ready, namespace, name, "true")
		out <- prometheus.MustNewConstMetric(podReady, prometheus.GaugeValue, 1-ready, namespace, name, "false")
		for _, container := range pod.Containers {
			labels := []string{namespace, name, container.Name}
			out <- prometheus.MustNewConstMetric(restarts, prometheus.CounterValue, float64(container.Run), labels...)
			if container.PID == 0 {
				continue
			}
			reading, ok := c.node.Usage.Container(usage.Key{Pod: pod.Pod.UID, Container: container.Name, PID: container.PID})
			if !ok {
				continue
			}
			out <- prometheus.MustNewConstMetric(memoryBytes, prometheus.GaugeValue, float64(reading.MemoryBytes), labels...)
			out <- prometheus.MustNewConstMetric(cpuSeconds, prometheus.CounterValue, reading.CPU.Seconds(), labels...)
		}
	}
}
