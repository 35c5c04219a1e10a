package pods

import "time"

// MaxBackoff is the longest wait between two restarts; a run of backoffReset
// makes the next wait the first again. Both are kubelet's.
const (
	MaxBackoff   = 5 * time.Minute
	backoffReset = 10 * time.Minute
)

// Backoff is kubelet's restart rule: the first restart comes at once, then
// base, doubling up to MaxBackoff; a run of ten minutes starts it anew.
type Backoff struct {
	Base  time.Duration
	delay time.Duration // before the next restart, counted from the end of the run
}

// Remaining is how long to wait still at now, after a run that ended then.
func (b *Backoff) Remaining(ended, now time.Time) time.Duration {
	return max(0, ended.Add(b.delay).Sub(now))
}

// Delay is the whole wait before the next restart.
func (b *Backoff) Delay() time.Duration { return b.delay }

// Restarted notes that a restart (or a failed try) was made.
func (b *Backoff) Restarted() {
	if b.delay == 0 {
		b.delay = b.Base
	} else {
		b.delay = min(2*b.delay, MaxBackoff)
	}
}

// Ended notes how long the last run was.
func (b *Backoff) Ended(ran time.Duration) {
	if ran >= backoffReset {
		b.delay = 0
	}
}
