package pods

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"tarsrelease/rehearsal/internal/agent/process"
)

// attend starts the probes of a run and waits for its end.
func (w *Worker) attend(c *container, p *process.Process) {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.started, c.ready = c.spec.StartupProbe == nil, c.spec.StartupProbe == nil && c.spec.ReadinessProbe == nil
	go func() {
		<-p.Done()
		cancel()
		w.post(func() { w.exited(c, p) })
	}()
	if c.spec.StartupProbe == nil {
		w.watchHealth(ctx, c, p)
		return
	}
	startupContext, done := context.WithCancel(ctx)
	w.probe(startupContext, c, p, "Startup", c.spec.StartupProbe, func(ok bool) {
		done()
		if !ok {
			w.kill(c, "failed startup probe", c.spec.StartupProbe)
			return
		}
		c.started, c.ready = true, c.spec.ReadinessProbe == nil
		w.watchHealth(ctx, c, p)
	})
}

// watchHealth runs readiness and liveness probes, once the container started.
func (w *Worker) watchHealth(ctx context.Context, c *container, p *process.Process) {
	if c.spec.ReadinessProbe != nil {
		w.probe(ctx, c, p, "Readiness", c.spec.ReadinessProbe, func(ok bool) { c.ready = ok })
	}
	if c.spec.LivenessProbe != nil {
		w.probe(ctx, c, p, "Liveness", c.spec.LivenessProbe, func(ok bool) {
			if !ok {
				w.kill(c, "failed liveness probe", c.spec.LivenessProbe)
			}
		})
	}
}

// probe runs one probe of a run; act is called in the worker's goroutine, and
// only while that run goes on.
func (w *Worker) probe(ctx context.Context, c *container, p *process.Process, kind string, spec *corev1.Probe, act func(ok bool)) {
	pod, ip := w.pod, w.ip
	setting := process.Spec{Env: c.env, Dir: w.runtime.workDir(pod), Credential: c.user}
	prober := prober{
		probe: spec,
		check: func(ctx context.Context) (bool, string) {
			return checkOnce(ctx, spec.ProbeHandler, &c.spec, ip, setting)
		},
		failed: func(output string) {
			w.runtime.event(pod, c.spec.Name, corev1.EventTypeWarning, "Unhealthy", "%s probe failed: %s", kind, output)
		},
		result: func(ok bool) {
			w.post(func() {
				if c.process == p && c.stopper == nil {
					act(ok)
				}
			})
		},
	}
	go prober.run(ctx)
}

func checkOnce(ctx context.Context, handler corev1.ProbeHandler, spec *corev1.Container, ip string, setting process.Spec) (bool, string) {
	switch {
	case handler.HTTPGet != nil:
		return checkHTTP(ctx, handler.HTTPGet, spec, ip)
	case handler.TCPSocket != nil:
		return checkTCP(ctx, handler.TCPSocket, spec, ip)
	case handler.Exec != nil:
		var output bytes.Buffer
		setting.Command = handler.Exec.Command
		code, err := process.Exec(ctx, setting, process.Streams{Out: &output, Err: &output})
		if err != nil {
			return false, err.Error()
		}
		return code == 0, output.String()
	default:
		return false, "this kind of probe is not supported by the rehearsal's node agent"
	}
}

// kill ends a run that failed a probe; the restart policy decides what then.
func (w *Worker) kill(c *container, why string, probe *corev1.Probe) {
	grace := gracePeriod(w.pod)
	if probe.TerminationGracePeriodSeconds != nil {
		grace = time.Duration(*probe.TerminationGracePeriodSeconds) * time.Second
	}
	w.runtime.event(w.pod, c.spec.Name, corev1.EventTypeNormal, "Killing", "Container %s %s, will be restarted", c.spec.Name, why)
	w.stop(c, grace, true)
}

// stop begins to end a run, or shortens the grace period of an end under way.
func (w *Worker) stop(c *container, grace time.Duration, hooks bool) {
	c.ready = false
	c.cancel() // a process that is being ended owes no probe an answer
	if c.stopper != nil {
		if grace < c.grace {
			c.grace = grace
			c.stopper.Within(grace)
		}
		return
	}
	var hook func(context.Context)
	if hooks && c.spec.Lifecycle != nil && c.spec.Lifecycle.PreStop != nil {
		hook = w.preStop(c, c.spec.Lifecycle.PreStop)
	}
	c.grace, c.stopper = grace, stop(c.process, hook, grace)
}

func (w *Worker) preStop(c *container, handler *corev1.LifecycleHandler) func(context.Context) {
	pod, ip := w.pod, w.ip
	setting := process.Spec{Env: c.env, Dir: w.runtime.workDir(pod), Credential: c.user}
	return func(ctx context.Context) {
		var err error
		switch {
		case handler.Sleep != nil:
			sleep(ctx, time.Duration(handler.Sleep.Seconds)*time.Second)
		case handler.HTTPGet != nil:
			err = hookHTTP(ctx, handler.HTTPGet, &c.spec, ip)
		case handler.Exec != nil:
			setting.Command = handler.Exec.Command
			var code int
			if code, err = process.Exec(ctx, setting, process.Streams{}); err == nil && code != 0 {
				err = fmt.Errorf("exit code %d", code)
			}
		}
		if err != nil {
			w.runtime.event(pod, c.spec.Name, corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed: %v", err)
		}
	}
}
