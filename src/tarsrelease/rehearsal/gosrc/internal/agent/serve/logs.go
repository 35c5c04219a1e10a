package serve

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"tarsrelease/rehearsal/internal/agent/containerlog"
	"tarsrelease/rehearsal/internal/agent/pods"
)

// logs is kubelet's GET /containerLogs/NAMESPACE/POD/CONTAINER with the query
// of PodLogOptions: follow, previous, tailLines, sinceSeconds, sinceTime,
// timestamps, limitBytes.
func (n Node) logs(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	options, err := logOptions(query, time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	pod, found := n.Manager.Find(r.PathValue("namespace"), r.PathValue("pod"))
	if !found {
		http.Error(w, fmt.Sprintf("pod %q does not exist", r.PathValue("pod")), http.StatusNotFound)
		return
	}
	container, found := pod.Container(r.PathValue("container"))
	if !found {
		http.Error(w, fmt.Sprintf("container %q not found in pod %q", r.PathValue("container"), pod.Pod.Name), http.StatusNotFound)
		return
	}
	run, live := chooseRun(container, query.Get("previous") == "true")
	path := n.Manager.LogPath(pod.Pod, container.Name, run)
	if _, err := os.Stat(path); run < 0 || err != nil {
		http.Error(w, missing(pod, container, query.Get("previous") == "true"), http.StatusBadRequest)
		return
	}
	if query.Get("follow") != "true" {
		live = nil
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	out := flusher{w, http.NewResponseController(w)}
	if live != nil {
		_ = out.control.Flush() // the client learns at once that it is connected
	}
	if err := containerlog.Read(r.Context(), path, live, options, out); err != nil && r.Context().Err() == nil {
		slog.Warn("reading a log failed", "pod", pod.Pod.Name, "container", container.Name, "error", err)
	}
}

// chooseRun picks the run whose log is asked for. While a container waits for
// its next run, the last one is both the present and the previous one, as for
// kubelet.
func chooseRun(c pods.ContainerSnapshot, previous bool) (run int32, live *containerlog.Log) {
	if previous && (c.PID != 0 || c.Waiting == "") {
		return c.Run - 1, nil
	}
	return c.Run, c.Log
}

func missing(pod *pods.Snapshot, c pods.ContainerSnapshot, previous bool) string {
	if previous {
		return fmt.Sprintf("previous terminated container %q in pod %q not found", c.Name, pod.Pod.Name)
	}
	reason := c.Waiting
	if reason == "" {
		reason = "ContainerCreating"
	}
	return fmt.Sprintf("container %q in pod %q is waiting to start: %s", c.Name, pod.Pod.Name, reason)
}

func logOptions(query url.Values, now time.Time) (containerlog.Options, error) {
	options := containerlog.Options{Tail: -1, Timestamps: query.Get("timestamps") == "true"}
	for name, set := range map[string]func(int64){
		"tailLines":    func(n int64) { options.Tail = n },
		"sinceSeconds": func(n int64) { options.Since = now.Add(-time.Duration(n) * time.Second) },
		"limitBytes":   func(n int64) { options.LimitBytes = n },
	} {
		text := query.Get(name)
		if text == "" {
			continue
		}
		number, err := strconv.ParseInt(text, 10, 64)
		if err != nil || number < 0 {
			return options, fmt.Errorf("%s: want a number that is not negative, got %q", name, text)
		}
		set(number)
	}
	if text := query.Get("sinceTime"); text != "" {
		since, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return options, fmt.Errorf("sinceTime: want RFC 3339, got %q", text)
		}
		options.Since = since
	}
	return options, nil
}

// flusher sends each line at once: followers wait for them.
type flusher struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}
