package pods

import (
	"cmp"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"tarsrelease/rehearsal/internal/agent/process"
)

// Manager keeps one worker for each pod of the node. It is the handler of the
// pods' informer.
type Manager struct {
	runtime *Runtime

	mu      sync.Mutex
	workers map[types.UID]*Worker
	running sync.WaitGroup
	closed  bool
}

// NewManager first ends what an earlier life of the agent left running: those
// processes belong to nobody, and their pods are started again.
func NewManager(runtime *Runtime) *Manager {
	records, _ := filepath.Glob(filepath.Join(runtime.RunDir, "pods", "*", "pids", "*")) // the pattern is well-formed
	for _, path := range records {
		if record, err := os.ReadFile(path); err == nil {
			process.KillRecorded(string(record))
		}
		_ = os.Remove(path) // a record that stays is checked again next time
	}
	return &Manager{runtime: runtime, workers: map[types.UID]*Worker{}}
}

// OnAdd starts a worker.
func (m *Manager) OnAdd(object any, _ bool) {
	if pod, ok := object.(*corev1.Pod); ok {
		m.update(pod)
	}
}

// OnUpdate tells the worker; a new pod under an old name is another pod.
func (m *Manager) OnUpdate(before, after any) {
	old, ok1 := before.(*corev1.Pod)
	pod, ok2 := after.(*corev1.Pod)
	if !ok1 || !ok2 {
		return
	}
	if old.UID != pod.UID {
		m.remove(old)
	}
	m.update(pod)
}

// OnDelete ends the worker.
func (m *Manager) OnDelete(object any) {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	if pod, ok := object.(*corev1.Pod); ok {
		m.remove(pod)
	}
}

func (m *Manager) update(pod *corev1.Pod) {
	m.mu.Lock()
	w := m.workers[pod.UID]
	if w == nil && !m.closed {
		w = newWorker(m.runtime, pod)
		m.workers[pod.UID] = w
		m.running.Add(1)
		go func() {
			defer m.running.Done()
			w.loop()
		}()
		m.mu.Unlock()
		return
	}
	m.mu.Unlock()
	if w != nil {
		w.post(func() { w.pod = pod })
		m.runtime.Writer.Observed(pod)
	}
}

func (m *Manager) remove(pod *corev1.Pod) {
	m.mu.Lock()
	w := m.workers[pod.UID]
	delete(m.workers, pod.UID)
	m.mu.Unlock()
	if w != nil {
		w.post(func() { w.gone = true })
	}
}

// Sweep removes folders of pods that were deleted while no agent ran. Call it
// once, after the informer has delivered all present pods.
func (m *Manager) Sweep() {
	folders, err := os.ReadDir(filepath.Join(m.runtime.RunDir, "pods"))
	if err != nil {
		return // no pod has ever run here
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, folder := range folders {
		if m.workers[types.UID(folder.Name())] == nil {
			if err := os.RemoveAll(filepath.Join(m.runtime.RunDir, "pods", folder.Name())); err != nil {
				slog.Warn("a former pod's folder stays", "error", err)
			}
		}
	}
}

// Snapshots shows all pods, ordered by namespace and name.
func (m *Manager) Snapshots() []*Snapshot {
	m.mu.Lock()
	all := make([]*Snapshot, 0, len(m.workers))
	for _, w := range m.workers {
		all = append(all, w.snapshot.Load())
	}
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b *Snapshot) int {
		return cmp.Or(cmp.Compare(a.Pod.Namespace, b.Pod.Namespace), cmp.Compare(a.Pod.Name, b.Pod.Name))
	})
	return all
}

// Find shows one pod.
func (m *Manager) Find(namespace, name string) (*Snapshot, bool) {
	for _, s := range m.Snapshots() {
		if s.Pod.Namespace == namespace && s.Pod.Name == name {
			return s, true
		}
	}
	return nil, false
}

// LogPath is where the log of one run of a container is.
func (m *Manager) LogPath(pod *corev1.Pod, container string, run int32) string {
	return m.runtime.LogPath(pod, container, run)
}

// KillForMemory ends a container that outgrew its limit, if pid still is its
// process.
func (m *Manager) KillForMemory(uid types.UID, container string, pid int) {
	m.mu.Lock()
	w := m.workers[uid]
	m.mu.Unlock()
	if w != nil {
		w.post(func() { w.killForMemory(container, pid) })
	}
}

// Shutdown stops all containers and waits for them, at most for limit.
func (m *Manager) Shutdown(limit time.Duration) {
	m.mu.Lock()
	m.closed = true
	workers := make([]*Worker, 0, len(m.workers))
	for _, w := range m.workers {
		workers = append(workers, w)
	}
	m.mu.Unlock()
	for _, w := range workers {
		w.post(func() { w.shutdown = true })
	}
	done := make(chan struct{})
	go func() { m.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(limit):
		slog.Warn("some containers did not end in time")
	}
}
