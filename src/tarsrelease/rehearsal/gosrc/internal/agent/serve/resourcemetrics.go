package serve

import (
	"encoding/json"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	metrics "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"tarsrelease/rehearsal/internal/agent/pods"
	"tarsrelease/rehearsal/internal/agent/usage"
)

const groupVersion = "metrics.k8s.io/v1beta1"

// resourceMetrics is the aggregated API metrics.k8s.io/v1beta1: the discovery
// documents, and nodes and pods, one or as a list, by label.
func (n Node) resourceMetrics() http.Handler {
	version := metav1.GroupVersionForDiscovery{GroupVersion: groupVersion, Version: "v1beta1"}
	group := metav1.APIGroup{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"},
		Name:     metrics.GroupName, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
	}
	verbs := metav1.Verbs{"get", "list"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /apis", document(metav1.APIGroupList{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{group},
	}))
	mux.HandleFunc("GET /apis/metrics.k8s.io", document(group))
	mux.HandleFunc("GET /apis/"+groupVersion, document(metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: groupVersion,
		APIResources: []metav1.APIResource{
			{Name: "nodes", Kind: "NodeMetrics", Verbs: verbs},
			{Name: "pods", Kind: "PodMetrics", Namespaced: true, Verbs: verbs},
		},
	}))
	mux.HandleFunc("GET /apis/"+groupVersion+"/nodes", n.listNodes)
	mux.HandleFunc("GET /apis/"+groupVersion+"/nodes/{name}", n.oneNode)
	mux.HandleFunc("GET /apis/"+groupVersion+"/pods", n.listPods)
	mux.HandleFunc("GET /apis/"+groupVersion+"/namespaces/{namespace}/pods", n.listPods)
	mux.HandleFunc("GET /apis/"+groupVersion+"/namespaces/{namespace}/pods/{name}", n.onePod)
	return mux
}

func document(content any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, content) }
}

func answer(w http.ResponseWriter, code int, content any) {
	body, err := json.Marshal(content)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body) // a client that went away needs no answer
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	answer(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
	})
}

func notFound(w http.ResponseWriter, resource, name string) {
	refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Sprintf("%s.metrics.k8s.io %q not found", resource, name))
}

// selector reads the request's label selector; false means that it has been
// refused.
func selector(w http.ResponseWriter, r *http.Request) (labels.Selector, bool) {
	parsed, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
	}
	return parsed, err == nil
}

func typed(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{Kind: kind, APIVersion: groupVersion}
}

func (n Node) nodeMetrics() (metrics.NodeMetrics, bool) {
	reading, ok := n.Usage.Node()
	if !ok || reading.Window == 0 {
		return metrics.NodeMetrics{}, false
	}
	return metrics.NodeMetrics{
		TypeMeta:   typed("NodeMetrics"),
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: map[string]string{corev1.LabelHostname: n.Name}},
		Timestamp:  metav1.NewTime(reading.At), Window: metav1.Duration{Duration: reading.Window},
		Usage: resources(reading),
	}, true
}

func (n Node) listNodes(w http.ResponseWriter, r *http.Request) {
	wanted, ok := selector(w, r)
	if !ok {
		return
	}
	list := metrics.NodeMetricsList{TypeMeta: typed("NodeMetricsList"), Items: []metrics.NodeMetrics{}}
	if node, ok := n.nodeMetrics(); ok && wanted.Matches(labels.Set(node.Labels)) {
		list.Items = append(list.Items, node)
	}
	answer(w, http.StatusOK, list)
}

func (n Node) oneNode(w http.ResponseWriter, r *http.Request) {
	node, ok := n.nodeMetrics()
	if !ok || r.PathValue("name") != n.Name {
		notFound(w, "nodes", r.PathValue("name"))
		return
	}
	answer(w, http.StatusOK, node)
}

func (n Node) listPods(w http.ResponseWriter, r *http.Request) {
	wanted, ok := selector(w, r)
	if !ok {
		return
	}
	namespace := r.PathValue("namespace") // empty: all
	list := metrics.PodMetricsList{TypeMeta: typed("PodMetricsList"), Items: []metrics.PodMetrics{}}
	for _, pod := range n.Manager.Snapshots() {
		if namespace != "" && pod.Pod.Namespace != namespace || !wanted.Matches(labels.Set(pod.Pod.Labels)) {
			continue
		}
		if measured, ok := n.podMetrics(pod); ok {
			list.Items = append(list.Items, measured)
		}
	}
	answer(w, http.StatusOK, list)
}

func (n Node) onePod(w http.ResponseWriter, r *http.Request) {
	if pod, found := n.Manager.Find(r.PathValue("namespace"), r.PathValue("name")); found {
		if measured, ok := n.podMetrics(pod); ok {
			answer(w, http.StatusOK, measured)
			return
		}
	}
	notFound(w, "pods", r.PathValue("name"))
}

// podMetrics is false for a pod of which nothing runs, or of which a container
// has not been measured twice: half a pod's use would be taken for all of it.
func (n Node) podMetrics(pod *pods.Snapshot) (metrics.PodMetrics, bool) {
	result := metrics.PodMetrics{
		TypeMeta: typed("PodMetrics"),
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Pod.Name, Namespace: pod.Pod.Namespace, Labels: pod.Pod.Labels,
			CreationTimestamp: pod.Pod.CreationTimestamp,
		},
	}
	for _, container := range pod.Containers {
		if container.PID == 0 {
			continue
		}
		reading, ok := n.Usage.Container(usage.Key{Pod: pod.Pod.UID, Container: container.Name, PID: container.PID})
		if !ok || reading.Window == 0 {
			return result, false
		}
		result.Timestamp = metav1.NewTime(reading.At)
		result.Window = metav1.Duration{Duration: max(result.Window.Duration, reading.Window)}
		result.Containers = append(result.Containers, metrics.ContainerMetrics{Name: container.Name, Usage: resources(reading)})
	}
	return result, len(result.Containers) > 0
}

func resources(reading usage.Reading) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewScaledQuantity(int64(reading.Cores*1e9), resource.Nano),
		corev1.ResourceMemory: *resource.NewQuantity(reading.MemoryBytes, resource.BinarySI),
	}
}
