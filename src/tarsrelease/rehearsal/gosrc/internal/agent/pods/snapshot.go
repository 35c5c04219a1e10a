package pods

import (
	"syscall"

	corev1 "k8s.io/api/core/v1"

	"tarsrelease/rehearsal/internal/agent/containerlog"
)

// Snapshot is what a worker lets others see of its pod; it never changes.
type Snapshot struct {
	Pod        *corev1.Pod
	Status     corev1.PodStatus
	IP         string
	Dir        string // working directory of the containers
	Containers []ContainerSnapshot
}

// ContainerSnapshot is one container of a Snapshot.
type ContainerSnapshot struct {
	Name        string
	PID         int // 0 while nothing runs
	Run         int32
	Waiting     string // the reason, while it waits
	MemoryLimit int64  // bytes; 0: none
	Log         *containerlog.Log
	Env         []string
	Credential  *syscall.Credential
}

// Ready says whether the pod is reported as ready.
func (s *Snapshot) Ready() bool { return isReady(s.Status) }

// Container finds a container by name; "" means the first of the pod.
func (s *Snapshot) Container(name string) (ContainerSnapshot, bool) {
	if name == "" && len(s.Pod.Spec.Containers) > 0 {
		name = s.Pod.Spec.Containers[0].Name
	}
	for _, c := range s.Containers {
		if c.Name == name {
			return c, true
		}
	}
	return ContainerSnapshot{}, false
}

// show publishes the present state.
func (w *Worker) show() {
	s := &Snapshot{Pod: w.pod, Status: w.status, IP: w.ip, Dir: w.runtime.workDir(w.pod)}
	for _, c := range w.all() {
		seen := ContainerSnapshot{Name: c.spec.Name, Run: c.run, Log: c.log, Env: c.env, Credential: c.user}
		if c.process != nil {
			seen.PID = c.process.PID()
		}
		if c.waiting != nil {
			seen.Waiting = c.waiting.Reason
		}
		if limit, ok := c.spec.Resources.Limits[corev1.ResourceMemory]; ok {
			seen.MemoryLimit = limit.Value()
		}
		s.Containers = append(s.Containers, seen)
	}
	w.snapshot.Store(s)
}
