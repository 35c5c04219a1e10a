package pods

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"tarsrelease/rehearsal/internal/agent/containerlog"
	"tarsrelease/rehearsal/internal/agent/images"
	"tarsrelease/rehearsal/internal/agent/process"
)

// settle is how long ErrImagePull is shown before it becomes ImagePullBackOff.
const settle = 500 * time.Millisecond

// container is one container of a pod through all its runs. Only its worker's
// goroutine touches it.
type container struct {
	spec corev1.Container
	init bool

	process *process.Process // nil while nothing runs
	stopper *stopper         // set once the process is being ended
	grace   time.Duration    // of the stopper
	cancel  context.CancelFunc
	log     *containerlog.Log
	env     []string
	user    *syscall.Credential
	imageID string
	ready   bool
	started bool
	oom     bool // this process was killed for its memory

	waiting *corev1.ContainerStateWaiting
	ended   *corev1.ContainerStateTerminated // the last run, until the next begins
	endedAt time.Time
	last    *corev1.ContainerStateTerminated // the run before the present one
	run     int32                            // restarts so far

	backoff Backoff
	pull    Backoff   // for what is missing before a start: image, ConfigMap
	tried   time.Time // the last try that found something missing
}

// restore takes over what the API knows of a container's earlier runs. What
// was running under an earlier agent has been killed; that counts as an end.
func (c *container) restore(status corev1.ContainerStatus, now time.Time) {
	c.run, c.imageID = status.RestartCount, status.ImageID
	c.last = status.LastTerminationState.Terminated
	switch {
	case status.State.Running != nil:
		c.ended = &corev1.ContainerStateTerminated{
			ExitCode: 137, Reason: "ContainerStatusUnknown",
			Message:   "the node agent was restarted while the container ran",
			StartedAt: status.State.Running.StartedAt, FinishedAt: stamp(now),
			ContainerID: status.ContainerID,
		}
		c.endedAt = now
	case status.State.Terminated != nil:
		c.ended, c.endedAt = status.State.Terminated, status.State.Terminated.FinishedAt.Time
	case c.last != nil:
		c.ended, c.endedAt = c.last, c.last.FinishedAt.Time
	}
}

// id names the present or last run as a container runtime would.
func (c *container) id(pod *corev1.Pod) string {
	if c.process == nil && c.ended == nil {
		return ""
	}
	return fmt.Sprintf("process://%s-%s-%d", pod.UID, c.spec.Name, c.run)
}

// status is what the API shows of the container.
func (c *container) status(pod *corev1.Pod, ending bool) corev1.ContainerStatus {
	started := c.started
	status := corev1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, ImageID: c.imageID, ContainerID: c.id(pod),
		Ready: c.ready && !ending, Started: &started, RestartCount: c.run,
	}
	if c.init && !isSidecar(&c.spec) {
		status.Ready = c.succeeded()
	}
	if c.last != nil {
		status.LastTerminationState.Terminated = c.last
	}
	switch {
	case c.process != nil:
		status.State.Running = &corev1.ContainerStateRunning{StartedAt: stamp(c.process.Started)}
	case c.waiting != nil && !ending:
		status.State.Waiting = c.waiting
		if c.ended != nil {
			status.LastTerminationState.Terminated = c.ended
		}
	case c.ended != nil:
		status.State.Terminated = c.ended
	case c.waiting != nil:
		status.State.Waiting = c.waiting
	default:
		reason := "ContainerCreating"
		if len(pod.Spec.InitContainers) > 0 {
			reason = "PodInitializing"
		}
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: reason}
	}
	return status
}

// succeeded says whether the last run ended well and nothing runs now.
func (c *container) succeeded() bool {
	return c.process == nil && c.ended != nil && c.ended.ExitCode == 0
}

// again says whether the policy wants another run after the last one.
func (c *container) again(policy corev1.RestartPolicy) bool {
	switch {
	case c.ended == nil || isSidecar(&c.spec):
		return true
	case c.ended.ExitCode == 0:
		return !c.init && policy == corev1.RestartPolicyAlways
	default:
		return policy != corev1.RestartPolicyNever
	}
}

// ensure brings the container to run if it should and may now; the result is
// when to look again (0: only when something happens).
func (w *Worker) ensure(c *container, now time.Time) time.Duration {
	if c.process != nil || !c.again(w.pod.Spec.RestartPolicy) {
		return 0
	}
	if c.ended != nil {
		if left := c.backoff.Remaining(c.endedAt, now); left > 0 {
			w.showBackoff(c)
			return left
		}
	}
	if left := c.pull.Remaining(c.tried, now); left > 0 && !c.tried.IsZero() {
		if c.waiting != nil && c.waiting.Reason == "ErrImagePull" {
			if unsettled := c.tried.Add(settle).Sub(now); unsettled > 0 {
				return min(left, unsettled)
			}
			w.wait(c, "ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q: %s", c.spec.Image, c.waiting.Message))
			w.runtime.event(w.pod, c.spec.Name, corev1.EventTypeNormal, "BackOff", "Back-off pulling image %q", c.spec.Image)
		}
		return left
	}
	if reason, err := w.begin(c, now); err != nil {
		w.wait(c, reason, err.Error())
		c.tried = now
		if reason != "ErrImagePull" {
			c.pull = Backoff{Base: w.runtime.RestartBase} // what is missing may be there any moment
		}
		c.pull.Restarted()
		w.runtime.event(w.pod, c.spec.Name, corev1.EventTypeWarning, "Failed", "Error: %s: %v", reason, err)
		return min(settle, c.pull.Remaining(now, now))
	}
	if c.process == nil {
		return time.Millisecond // the start itself failed: on to the back-off
	}
	return 0
}

func (w *Worker) wait(c *container, reason, message string) {
	c.waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: message}
}

func (w *Worker) showBackoff(c *container) {
	if c.waiting != nil && c.waiting.Reason == "CrashLoopBackOff" {
		return
	}
	w.wait(c, "CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
		c.backoff.Delay(), c.spec.Name, w.pod.Name, w.pod.Namespace, w.pod.UID))
	w.runtime.event(w.pod, c.spec.Name, corev1.EventTypeWarning, "BackOff",
		"Back-off restarting failed container %s in pod %s_%s(%s)", c.spec.Name, w.pod.Name, w.pod.Namespace, w.pod.UID)
}

// begin starts the next run. An error, with the reason to show, means that
// something is missing and the start must be tried again later; a command
// that cannot be executed is a run that failed instead.
func (w *Worker) begin(c *container, now time.Time) (reason string, err error) {
	image, err := w.runtime.Images.Lookup(c.spec.Image)
	if errors.Is(err, images.ErrInvalidName) {
		return "InvalidImageName", err
	}
	if err != nil {
		return "ErrImagePull", err
	}
	if w.volumes == nil {
		if w.volumes, err = w.runtime.prepareVolumes(w.pod, w.objects); err != nil {
			w.volumes = nil
			return "CreateContainerConfigError", err
		}
	}
	facts := Facts{PodIP: w.ip, HostIP: w.runtime.NodeAddress, PodDir: w.runtime.workDir(w.pod), Volumes: w.volumes}
	base := map[string]string{"HOME": facts.PodDir, "HOSTNAME": w.pod.Name}
	for name, value := range w.runtime.BaseEnv {
		base[name] = value
	}
	env, err := Environment(base, image.Env, w.pod, &c.spec, w.objects, facts)
	if err != nil {
		return "CreateContainerConfigError", err
	}
	run := c.run
	if c.ended != nil {
		run++
	}
	log, err := containerlog.Create(w.runtime.LogPath(w.pod, c.spec.Name, run))
	if err != nil {
		return "CreateContainerError", err
	}
	w.runtime.event(w.pod, c.spec.Name, corev1.EventTypeNormal, "Pulled", "Container image %q already present on machine", c.spec.Image)
	w.dropLog(c, run-2)
	if c.ended != nil {
		c.last, c.ended = c.ended, nil
		c.backoff.Restarted()
	}
	c.run, c.imageID, c.log, c.env, c.user = run, image.ID(), log, list(env), credential(w.pod, &c.spec)
	c.waiting, c.stopper, c.oom, c.pull, c.tried = nil, nil, false, Backoff{Base: w.runtime.RestartBase}, time.Time{}
	command := image.Arguments(expandAll(c.spec.Command, env), expandAll(c.spec.Args, env))
	started, err := process.Start(process.Spec{
		Command: command, Env: c.env, Dir: facts.PodDir, Credential: c.user, Log: log,
	})
	if err != nil {
		log.Close()
		c.ended = &corev1.ContainerStateTerminated{
			ExitCode: 128, Reason: "StartError", Message: err.Error(),
			StartedAt: stamp(now), FinishedAt: stamp(now),
		}
		c.ended.ContainerID, c.endedAt = c.id(w.pod), now
		w.runtime.event(w.pod, c.spec.Name, corev1.EventTypeWarning, "Failed", "Error: %v", err)
		return "", nil
	}
	c.process = started
	w.recordPID(c)
	w.runtime.event(w.pod, c.spec.Name, corev1.EventTypeNormal, "Started", "Container started: %s", c.spec.Name)
	w.attend(c, started)
	return "", nil
}

// exited takes note of the end of a run.
func (w *Worker) exited(c *container, p *process.Process) {
	if c.process != p {
		return
	}
	exit := p.Exit()
	ended := &corev1.ContainerStateTerminated{
		ExitCode: int32(exit.Code), Reason: "Completed",
		StartedAt: stamp(p.Started), FinishedAt: stamp(exit.At), ContainerID: c.id(w.pod),
	}
	switch {
	case c.oom:
		ended.Reason, ended.ExitCode = "OOMKilled", 137
	case exit.Code != 0:
		ended.Reason = "Error"
	}
	c.ended, c.endedAt = ended, exit.At
	c.process, c.stopper, c.ready, c.started = nil, nil, false, false
	c.backoff.Ended(exit.At.Sub(p.Started))
	_ = os.Remove(w.runtime.pidFile(w.pod, c.spec.Name)) // gone with the pod's folder already
}

func (w *Worker) recordPID(c *container) {
	path := w.runtime.pidFile(w.pod, c.spec.Name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(c.process.Record()), 0o644)
	}
	if err != nil {
		w.runtime.event(w.pod, c.spec.Name, corev1.EventTypeWarning, "Failed",
			"the process id could not be recorded, an agent started later will not know it: %v", err)
	}
}

// dropLog removes the log of a run that kubectl logs can no longer ask for.
func (w *Worker) dropLog(c *container, run int32) {
	if run < 0 {
		return
	}
	path := w.runtime.LogPath(w.pod, c.spec.Name, run)
	for _, old := range []string{path, path + ".old"} {
		_ = os.Remove(old) // most runs have no .old
	}
}
