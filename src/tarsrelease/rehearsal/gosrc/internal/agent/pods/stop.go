package pods

import (
	"context"
	"time"

	"tarsrelease/rehearsal/internal/agent/process"
)

// afterHook is the least time a process has between the end of its preStop
// hook and SIGKILL; as in kubelet.
const afterHook = 2 * time.Second

// stopper ends one process: preStop hook, SIGTERM, and SIGKILL at the end of
// the grace period.
type stopper struct {
	process *process.Process
	hook    func(context.Context) // nil without a preStop hook
	begun   time.Time
	limit   time.Duration      // the grace period in force; only run() touches it
	grace   chan time.Duration // a shorter grace period, counted from begun
}

// stop begins; the process' Done tells the end.
func stop(p *process.Process, hook func(context.Context), grace time.Duration) *stopper {
	s := &stopper{process: p, hook: hook, begun: time.Now(), limit: grace, grace: make(chan time.Duration, 8)}
	go s.run()
	return s
}

// Within changes the grace period, counted from when the stop began.
func (s *stopper) Within(grace time.Duration) {
	select {
	case s.grace <- grace:
	case <-s.process.Done():
	}
}

func (s *stopper) run() {
	if s.limit <= 0 {
		s.process.Kill()
		return
	}
	timer := time.NewTimer(s.limit)
	defer timer.Stop()
	if s.hook != nil {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ended := make(chan struct{})
		go func() { defer close(ended); s.hook(ctx) }()
		if gone := s.wait(timer, ended); gone {
			return
		}
		cancel()
		timer.Reset(max(afterHook, time.Until(s.begun.Add(s.limit))))
	}
	s.process.Terminate()
	if gone := s.wait(timer, nil); !gone {
		s.process.Kill()
	}
}

// wait returns when the timer fires, event closes, or the process has ended
// (true).
func (s *stopper) wait(timer *time.Timer, event <-chan struct{}) (gone bool) {
	for {
		select {
		case <-s.process.Done():
			return true
		case <-event:
			return false
		case <-timer.C:
			return false
		case s.limit = <-s.grace:
			timer.Reset(max(0, time.Until(s.begun.Add(s.limit))))
		}
	}
}
