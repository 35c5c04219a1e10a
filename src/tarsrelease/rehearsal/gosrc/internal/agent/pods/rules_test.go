package pods

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tarsrelease/rehearsal/internal/agent/containerlog"
	"tarsrelease/rehearsal/internal/agent/process"
)

func TestBackoffDoublesAndStartsAnew(t *testing.T) {
	b := Backoff{Base: 10 * time.Second}
	ended := time.Unix(1000, 0)
	for i, want := range []time.Duration{0, 10, 20, 40, 80, 160, 300, 300} {
		if got := b.Remaining(ended, ended); got != want*time.Second {
			t.Errorf("restart %d waits %s, want %ds", i, got, want)
		}
		b.Restarted()
		b.Ended(time.Second)
	}
	if got := b.Remaining(ended, ended.Add(290*time.Second)); got != 10*time.Second {
		t.Errorf("290 s after the end: %s left", got)
	}
	if got := b.Remaining(ended, ended.Add(time.Hour)); got != 0 {
		t.Errorf("an hour after the end: %s left", got)
	}
	b.Ended(10 * time.Minute)
	if b.Delay() != 0 {
		t.Errorf("after a run of ten minutes the wait is %s", b.Delay())
	}
}

func TestThresholdNeedsARow(t *testing.T) {
	threshold := Threshold{Success: 2, Failure: 3}
	results := []struct{ ok, reached bool }{
		{false, false}, {false, false}, {true, false}, {true, true}, {true, true},
		{false, false}, {false, false}, {true, false}, {false, false}, {false, false}, {false, true},
	}
	for i, r := range results {
		if got := threshold.Observe(r.ok); got != r.reached {
			t.Errorf("result %d (%v): reached %v, want %v", i, r.ok, got, r.reached)
		}
	}
	if once := (&Threshold{}); !once.Observe(false) {
		t.Error("a threshold of 0 means 1")
	}
}

func TestEarlyFailuresAreNotCounted(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	began := time.Now()
	asked, results := 0, []bool{}
	prober{
		probe: &corev1.Probe{PeriodSeconds: 20, FailureThreshold: 1, SuccessThreshold: 1},
		check: func(context.Context) (bool, string) { asked++; return asked > 2, "not yet" },
		failed: func(output string) {
			t.Errorf("an early failure was counted: %s", output)
		},
		result: func(ok bool) { results = append(results, ok); cancel() },
	}.run(ctx)
	if asked != 3 || len(results) != 1 || !results[0] {
		t.Errorf("asked %d times, results %v", asked, results)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("ready after %s, although the period is not waited for", took)
	}
}

func TestFailuresCountOnceAPeriod(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	failures := 0
	began := time.Now()
	prober{
		probe:  &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 2, SuccessThreshold: 1},
		check:  func(context.Context) (bool, string) { return false, "down" },
		failed: func(string) { failures++ },
		result: func(ok bool) {
			if ok {
				t.Error("failures added up to a success")
			}
			cancel()
		},
	}.run(ctx)
	if took := time.Since(began); failures != 2 || took < 2*time.Second || took > 15*time.Second {
		t.Errorf("%d failures counted in %s, want 2 in two periods", failures, took)
	}
}

func TestPortNumber(t *testing.T) {
	c := &corev1.Container{Name: "c", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}
	for port, want := range map[intstr.IntOrString]int{
		intstr.FromInt32(9): 9, intstr.FromString("http"): 8080, intstr.FromString("81"): 81, intstr.FromString("ws"): 0,
	} {
		if got, err := portNumber(port, c); got != want || (err != nil) != (want == 0) {
			t.Errorf("%v: %d, %v", port, got, err)
		}
	}
}

// stubborn starts a process that ignores SIGTERM once it says so in a file.
func stubborn(t *testing.T, script string) *process.Process {
	t.Helper()
	dir := t.TempDir()
	log, err := containerlog.Create(filepath.Join(dir, "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := process.Start(process.Spec{
		Command: []string{"sh", "-c", script + "; touch set; while :; do sleep 0.05; done"},
		Env:     []string{"PATH=" + os.Getenv("PATH")}, Dir: dir, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "set")); err == nil {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatal("the process never set its trap")
		}
	}
}

// timeToEnd is how long a process takes to end, and its exit code.
func timeToEnd(t *testing.T, p *process.Process, since time.Time) (time.Duration, int) {
	t.Helper()
	select {
	case <-p.Done():
		return p.Exit().At.Sub(since), p.Exit().Code
	case <-time.After(20 * time.Second):
		t.Fatal("the process did not end")
		return 0, 0
	}
}

func TestStopGivesTheGracePeriodThenKills(t *testing.T) {
	p := stubborn(t, `trap '' TERM`)
	began := time.Now()
	stop(p, nil, time.Second)
	if took, code := timeToEnd(t, p, began); code != 137 || took < 900*time.Millisecond || took > 15*time.Second {
		t.Errorf("ended with %d after %s, want 137 after 1 s", code, took)
	}
	p = stubborn(t, `trap 'exit 5' TERM`)
	began = time.Now()
	stop(p, nil, 30*time.Second)
	if took, code := timeToEnd(t, p, began); code != 5 || took > 15*time.Second {
		t.Errorf("a process that ends when asked: %d after %s", code, took)
	}
}

func TestStopWaitsForTheHook(t *testing.T) {
	p := stubborn(t, `trap 'exit 5' TERM`)
	began := time.Now()
	stop(p, func(ctx context.Context) { sleep(ctx, time.Second) }, 30*time.Second)
	if took, code := timeToEnd(t, p, began); code != 5 || took < time.Second || took > 15*time.Second {
		t.Errorf("ended with %d after %s, want 5 after the hook's second", code, took)
	}
}

func TestStopCanBeShortened(t *testing.T) {
	p := stubborn(t, `trap '' TERM`)
	began := time.Now()
	stop(p, nil, time.Hour).Within(500 * time.Millisecond)
	if took, code := timeToEnd(t, p, began); code != 137 || took > 15*time.Second {
		t.Errorf("ended with %d after %s", code, took)
	}
	p = stubborn(t, `:`)
	stop(p, nil, 0)
	if _, code := timeToEnd(t, p, began); code != 137 {
		t.Errorf("grace 0: exit code %d, want 137 at once", code)
	}
}
