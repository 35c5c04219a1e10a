package pods

import (
	"os"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// lostGrace is what processes get whose pod was removed from the API
	// without waiting (kubectl delete --force).
	lostGrace = time.Second
	// shutdownGrace is what processes get when the agent itself ends.
	shutdownGrace = 5 * time.Second
)

// Worker runs one pod. One goroutine owns its state; everything that happens
// (updates, ends of processes, probe results) reaches it as a function in its
// inbox, after which it compares what is with what should be.
type Worker struct {
	runtime *Runtime
	inbox   chan func()
	over    chan struct{} // closed when the worker has ended

	pod        *corev1.Pod
	ip         string
	startTime  metav1.Time
	volumes    map[string]string
	objects    *objects
	init, main []*container
	prepared   bool
	inert      bool // the API says that this pod has already ended
	gone       bool // the API no longer has the pod
	shutdown   bool // the agent is ending
	finished   bool // deletion: nothing runs any more
	reported   bool // deletion: the writer has been asked to remove the pod
	status     corev1.PodStatus

	snapshot atomic.Pointer[Snapshot]
}

func newWorker(runtime *Runtime, pod *corev1.Pod) *Worker {
	now := time.Now()
	w := &Worker{
		runtime: runtime, inbox: make(chan func(), 64), over: make(chan struct{}),
		pod: pod, objects: newObjects(runtime.Client, pod.Namespace), status: pod.Status, startTime: stamp(now),
		inert: pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed,
	}
	if pod.Status.StartTime != nil {
		w.startTime = *pod.Status.StartTime
	}
	w.init = newContainers(runtime, pod.Spec.InitContainers, pod.Status.InitContainerStatuses, true, now)
	w.main = newContainers(runtime, pod.Spec.Containers, pod.Status.ContainerStatuses, false, now)
	if pod.Status.PodIP != "" && !pod.Spec.HostNetwork && !w.inert && runtime.Pool.Reserve(pod.Status.PodIP) {
		w.ip = pod.Status.PodIP
	}
	w.show()
	return w
}

func newContainers(runtime *Runtime, specs []corev1.Container, known []corev1.ContainerStatus, init bool, now time.Time) []*container {
	var made []*container
	for _, spec := range specs {
		c := &container{
			spec: spec, init: init,
			backoff: Backoff{Base: runtime.RestartBase}, pull: Backoff{Base: runtime.RestartBase},
		}
		for _, status := range known {
			if status.Name == spec.Name {
				c.restore(status, now)
			}
		}
		made = append(made, c)
	}
	return made
}

// post hands f to the worker's goroutine; after its end nothing happens.
func (w *Worker) post(f func()) {
	select {
	case w.inbox <- f:
	case <-w.over:
	}
}

// loop works until the pod is gone or the agent ends.
func (w *Worker) loop() {
	defer close(w.over)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := w.sync(time.Now())
		w.report()
		w.show()
		if (w.gone || w.shutdown) && w.idle() {
			w.leave()
			return
		}
		timer.Stop()
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case f := <-w.inbox:
			f()
			w.drain()
		case <-timer.C:
		}
	}
}

// drain takes what has piled up, so that one look answers all of it.
func (w *Worker) drain() {
	for {
		select {
		case f := <-w.inbox:
			f()
		default:
			return
		}
	}
}

func (w *Worker) all() []*container {
	return append(append([]*container{}, w.init...), w.main...)
}

func (w *Worker) idle() bool {
	for _, c := range w.all() {
		if c.process != nil {
			return false
		}
	}
	return true
}

// ending says whether the pod must not run any more.
func (w *Worker) ending() bool {
	return w.gone || w.shutdown || w.pod.DeletionTimestamp != nil
}

// sync moves the pod towards what its spec says; the result is when to look
// again (0: only when something happens).
func (w *Worker) sync(now time.Time) time.Duration {
	if w.ending() {
		w.end()
		return 0
	}
	if w.inert {
		return 0
	}
	if !w.prepare() {
		return time.Second
	}
	var next time.Duration
	for _, c := range w.init {
		if !isSidecar(&c.spec) && c.succeeded() {
			continue
		}
		next = sooner(next, w.ensure(c, now))
		if !isSidecar(&c.spec) || !c.started {
			return next
		}
	}
	mainsOver := true
	for _, c := range w.main {
		next = sooner(next, w.ensure(c, now))
		mainsOver = mainsOver && c.process == nil && !c.again(w.pod.Spec.RestartPolicy)
	}
	if mainsOver { // a Job's sidecars end with it
		w.inert = w.idle()
		for _, c := range w.init {
			if c.process != nil {
				w.stop(c, gracePeriod(w.pod), true)
			}
		}
	}
	return next
}

func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// prepare gives the pod its address and folders before the first start.
func (w *Worker) prepare() bool {
	if w.prepared {
		return true
	}
	if w.pod.Spec.HostNetwork {
		w.ip = w.runtime.NodeAddress
	}
	if w.ip == "" {
		ip, err := w.runtime.Pool.Take()
		if err != nil {
			w.runtime.event(w.pod, "", corev1.EventTypeWarning, "FailedCreatePodSandBox", "%v", err)
			return false
		}
		w.ip = ip
	}
	if err := writeFiles(w.runtime.workDir(w.pod), nil); err != nil {
		w.runtime.event(w.pod, "", corev1.EventTypeWarning, "FailedCreatePodSandBox", "scratch folder: %v", err)
		return false
	}
	for _, what := range Unsupported(&w.pod.Spec) {
		w.runtime.event(w.pod, "", corev1.EventTypeWarning, "Unsupported", "%s", what)
	}
	w.prepared = true
	return true
}

// end stops what runs; sidecars last.
func (w *Worker) end() {
	grace, hooks := gracePeriod(w.pod), true
	if seconds := w.pod.DeletionGracePeriodSeconds; seconds != nil {
		grace = time.Duration(*seconds) * time.Second
	}
	if w.gone {
		grace, hooks = min(grace, lostGrace), false
	}
	if w.shutdown {
		grace, hooks = min(grace, shutdownGrace), false
	}
	running := false
	for _, group := range [][]*container{w.main, w.init} {
		for _, c := range group {
			if c.process == nil {
				continue
			}
			running = true
			if c.stopper == nil {
				w.runtime.event(w.pod, c.spec.Name, corev1.EventTypeNormal, "Killing", "Stopping container %s", c.spec.Name)
			}
			w.stop(c, grace, hooks)
		}
		if running {
			return
		}
	}
	w.finished = true
}

func gracePeriod(pod *corev1.Pod) time.Duration {
	if seconds := pod.Spec.TerminationGracePeriodSeconds; seconds != nil {
		return time.Duration(*seconds) * time.Second
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}

// report hands a changed status to the writer. An ending agent reports
// nothing: its next life starts the pods again.
func (w *Worker) report() {
	if w.gone || w.shutdown {
		return
	}
	remove := w.finished
	if remove && w.reported {
		return
	}
	alreadyOver := w.pod.Status.Phase == corev1.PodSucceeded || w.pod.Status.Phase == corev1.PodFailed
	if w.inert && alreadyOver && !remove {
		return
	}
	status := w.status
	if !alreadyOver {
		status = w.compute()
	}
	if remove || !sameStatus(status, w.status) {
		w.status = status
		w.runtime.Writer.Set(w.pod, status, remove)
		w.reported = remove
	}
}

func (w *Worker) compute() corev1.PodStatus {
	view := View{
		Pod: w.pod, HostIP: w.runtime.NodeAddress, IP: w.ip, StartTime: w.startTime,
		Terminating: w.pod.DeletionTimestamp != nil, Finished: w.finished,
	}
	for _, c := range w.init {
		view.Init = append(view.Init, c.status(w.pod, view.Terminating))
	}
	for _, c := range w.main {
		view.Main = append(view.Main, c.status(w.pod, view.Terminating))
	}
	return Status(view, w.status, stamp(time.Now()))
}

// leave gives back what the pod had.
func (w *Worker) leave() {
	if w.shutdown && !w.gone {
		return // its folder and address are needed by the next life
	}
	if !w.pod.Spec.HostNetwork && w.ip != "" {
		w.runtime.Pool.Release(w.ip)
	}
	if err := os.RemoveAll(w.runtime.podDir(w.pod)); err != nil {
		w.runtime.event(w.pod, "", corev1.EventTypeWarning, "FailedCleanup", "scratch folder: %v", err)
	}
	w.runtime.Writer.Forget(w.pod.UID)
}

// killForMemory ends a run that outgrew its limit.
func (w *Worker) killForMemory(name string, pid int) {
	for _, c := range w.all() {
		if c.spec.Name == name && c.process != nil && c.process.PID() == pid {
			c.oom, c.ready = true, false
			w.runtime.event(w.pod, name, corev1.EventTypeWarning, "OOMKilling", "Memory limit reached; killed process %d", pid)
			c.process.Kill()
		}
	}
}
