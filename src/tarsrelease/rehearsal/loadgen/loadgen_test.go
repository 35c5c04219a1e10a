package main

import (
	"context"
	"encoding/json"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestPlanFromTextAndFile(t *testing.T) {
	text := `[{"host":"tars.ai","path":"/","rate":2},{"host":"api.tars.ai","path":"/a","rate":1}]`
	file := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, given := range []string{text, file} {
		plan, err := readPlan(given)
		if err != nil || len(plan) != 2 || totalRate(plan) != 3 {
			t.Errorf("readPlan(%q) = %v, %v", given, plan, err)
		}
	}
}

func TestWrongPlansAreRefused(t *testing.T) {
	for _, text := range []string{
		"", "[]", "[1]", `[{"host":"","path":"/","rate":1}]`, `[{"host":"h","path":"x","rate":1}]`,
		`[{"host":"h","path":"/","rate":0}]`, `[{"host":"h","path":"/","rate":-1}]`, "/no/such/file",
	} {
		if plan, err := readPlan(text); err == nil {
			t.Errorf("readPlan(%q) = %v, want an error", text, plan)
		}
	}
}

func TestPickerKeepsProportionsInEveryWindow(t *testing.T) {
	p := newPicker([]aim{{"h", "/a", 5}, {"h", "/b", 3}, {"h", "/c", 2}})
	for window := range 20 {
		var drawn [3]int
		for range 10 {
			drawn[p.next()]++
		}
		if drawn != [3]int{5, 3, 2} {
			t.Errorf("window %d drew %v, want 5, 3, 2", window, drawn)
		}
	}
}

func TestPaceKeepsItsRateAndCanBeChanged(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var arrived atomic.Int64
	p, done := &pace{rate: 500}, make(chan struct{})
	go func() { p.run(ctx, func() { arrived.Add(1) }); close(done) }()

	within(t, "500/s for a second", func() float64 {
		before := arrived.Load()
		time.Sleep(time.Second)
		return float64(arrived.Load() - before)
	}, 400, 600)
	p.set(0)
	time.Sleep(5 * tick)
	within(t, "paused", func() float64 {
		before := arrived.Load()
		time.Sleep(200 * time.Millisecond)
		return float64(arrived.Load() - before)
	}, 0, 0)
	cancel()
	<-done
}

func within(t *testing.T, what string, measure func() float64, least, most float64) {
	t.Helper()
	if got := measure(); got < least || got > most {
		t.Errorf("%s: %v, want %v to %v", what, got, least, most)
	}
}

func TestCountsTellAnswersFromLosses(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Tars-Version", "1.0.1")
		w.Header().Set("X-Tars-Deployment", "canary")
		switch r.URL.Path {
		case "/fail":
			w.WriteHeader(http.StatusInternalServerError)
		case "/cut":
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("half"))
			panic(http.ErrAbortHandler)
		}
		if r.Host != "tars.ai" {
			t.Errorf("host is %q", r.Host)
		}
	}))
	defer server.Close()
	c := newCounts()
	s := newSender(server.URL, c)
	for _, path := range []string{"/", "/", "/fail", "/cut"} {
		s.send(t.Context(), aim{Host: "tars.ai", Path: path})
	}
	s.inFlight.Wait()
	refused := newSender("http://"+freeAddress(t), c)
	refused.send(t.Context(), aim{Host: "tars.ai", Path: "/"})
	refused.inFlight.Wait()

	r := c.snapshot()
	if r.Sent != 5 || r.Answered != 3 || r.Lost != 2 || r.InFlight != 0 {
		t.Errorf("sent %d, answered %d, lost %d, in flight %d; want 5, 3, 2, 0", r.Sent, r.Answered, r.Lost, r.InFlight)
	}
	if r.ByStatus["200"] != 2 || r.ByStatus["500"] != 1 || r.ByVersion["1.0.1"] != 3 || r.ByDeployment["canary"] != 3 {
		t.Errorf("by status %v, version %v, deployment %v", r.ByStatus, r.ByVersion, r.ByDeployment)
	}
	if r.ByPath["/fail"] != (tally{Sent: 1, Answered: 1, Failed: 1}) || r.ByPath["/cut"] != (tally{Sent: 1, Lost: 1}) {
		t.Errorf("by path %v", r.ByPath)
	}
	if r.Problems["connection refused"] != 1 {
		t.Errorf("problems %v", r.Problems)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestResetForgetsAndIgnoresEarlierRequests(t *testing.T) {
	c := newCounts()
	epoch := c.sending("/")
	c.reset()
	c.ended(epoch, outcome{path: "/", status: 200})
	if r := c.snapshot(); r.Sent != 0 || r.Answered != 0 {
		t.Errorf("after reset: sent %d, answered %d", r.Sent, r.Answered)
	}
}

func TestPercentilesAreRightToTwoPercent(t *testing.T) {
	c := newCounts()
	for i := 1; i <= 1000; i++ {
		c.ended(c.sending("/"), outcome{path: "/", status: 200, took: time.Duration(i) * time.Millisecond})
	}
	r := c.snapshot()
	for want, got := range map[float64]float64{500: r.P50, 950: r.P95, 990: r.P99, 1000: r.Slowest} {
		if math.Abs(got-want)/want > 0.021 {
			t.Errorf("percentile is %v ms, want %v", got, want)
		}
	}
}

func TestControlChangesTheRate(t *testing.T) {
	p := &pace{rate: 10}
	server := httptest.NewServer(control(newCounts(), p))
	defer server.Close()
	for body, want := range map[string]int{
		`{"rate": 0}`: 204, `{"rate": -1}`: 400, `{}`: 400, `nonsense`: 400, `{"rate": 1e9}`: 400,
	} {
		answer, err := http.Post(server.URL+"/rate", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("POST /rate %s gives %d, want %d", body, answer.StatusCode, want)
		}
	}
	if p.get() != 0 {
		t.Errorf("rate is %v, want 0", p.get())
	}
	answer, err := http.Get(server.URL + "/report")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var r map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&r); err != nil || r["lost"] != 0.0 {
		t.Errorf("report %v, %v", r, err)
	}
}
