package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tars-ai/tars/services/internal/release"
)

func newTestServer(t *testing.T) (*Server, *httptest.Server) {
	t.Helper()
	t.Setenv("TARS_FAULT_SWITCH", "true")
	t.Setenv("TARS_DEPLOYMENT", "canary")
	t.Setenv("TARS_FEATURE_MISSIONS_CACHE", "false")
	s, err := New("test", release.Release{Version: "1.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	s.Handle("GET /work", func(w http.ResponseWriter, _ *http.Request) { WriteJSON(w, http.StatusOK, "done") })
	s.Handle("GET /broken", func(http.ResponseWriter, *http.Request) { panic("broken") })
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server
}

func get(t *testing.T, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func setFaults(t *testing.T, base, body string) int {
	t.Helper()
	answer, err := http.Post(base+"/_faults", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// sample reads one series' value from /metrics; ok is false where there is none.
func sample(t *testing.T, base, series string) (value float64, ok bool) {
	t.Helper()
	_, body := get(t, base+"/metrics")
	lines := bufio.NewScanner(strings.NewReader(body))
	for lines.Scan() {
		if rest, found := strings.CutPrefix(lines.Text(), series+" "); found {
			if _, err := fmt.Sscan(rest, &value); err != nil {
				t.Fatal(err)
			}
			return value, true
		}
	}
	return 0, false
}

func TestHealthIsExact(t *testing.T) {
	_, server := newTestServer(t)
	answer, body := get(t, server.URL+"/health")
	if body != `{"status": "healthy"}` || answer.Header.Get("X-Tars-Version") != "1.0.1" || answer.Header.Get("X-Tars-Deployment") != "canary" {
		t.Errorf("health: %q, headers %v", body, answer.Header)
	}
}

func TestVersionNamesHotfixesAndFlags(t *testing.T) {
	_, server := newTestServer(t)
	_, body := get(t, server.URL+"/version")
	var version struct {
		Hotfixes []release.Hotfix  `json:"hotfixes"`
		Flags    map[string]string `json:"feature_flags"`
	}
	if err := json.Unmarshal([]byte(body), &version); err != nil || len(version.Hotfixes) != 5 || version.Flags["missions_cache"] != "false" {
		t.Errorf("version: %s, %v", body, err)
	}
}

func TestSeriesExistBeforeTheFirstRequest(t *testing.T) {
	_, server := newTestServer(t)
	for _, series := range []string{
		`http_requests_total{method="GET",path="/work",status="200"}`,
		`http_requests_total{method="GET",path="/work",status="500"}`,
		`http_request_duration_seconds_count{path="/work"}`,
	} {
		if value, ok := sample(t, server.URL, series); !ok || value != 0 {
			t.Errorf("%s is %v (there: %v), want 0", series, value, ok)
		}
	}
	for _, bound := range []string{"0.005", "0.01", "0.025", "0.05", "0.09", "0.1", "0.11", "0.12", "0.25", "0.5", "1", "2.5", "5", "+Inf"} {
		if _, ok := sample(t, server.URL, `http_request_duration_seconds_bucket{path="/work",le="`+bound+`"}`); !ok {
			t.Errorf("there is no bucket %s", bound)
		}
	}
}

func TestOnlyWorkIsCounted(t *testing.T) {
	_, server := newTestServer(t)
	for _, path := range []string{"/health", "/ready", "/version", "/metrics", "/work", "/work", "/nowhere", "/broken"} {
		get(t, server.URL+path)
	}
	setFaults(t, server.URL, "{}")
	for series, want := range map[string]float64{
		`http_requests_total{method="GET",path="/work",status="200"}`:   2,
		`http_requests_total{method="GET",path="other",status="404"}`:   1,
		`http_requests_total{method="GET",path="/broken",status="500"}`: 1,
		`http_request_duration_seconds_count{path="/work"}`:             2,
	} {
		if value, _ := sample(t, server.URL, series); value != want {
			t.Errorf("%s is %v, want %v", series, value, want)
		}
	}
	if _, body := get(t, server.URL+"/metrics"); strings.Contains(body, `path="/health"`) {
		t.Error("health is counted")
	}
}

func TestErrorsHitWorkAndSpareProbesAndTheCanaryHeader(t *testing.T) {
	_, server := newTestServer(t)
	if status := setFaults(t, server.URL, `{"error_share": 1}`); status != http.StatusOK {
		t.Fatalf("the switch answered %d", status)
	}
	for path, want := range map[string]int{"/work": 500, "/nowhere": 500, "/health": 200, "/ready": 200, "/metrics": 200} {
		if answer, _ := get(t, server.URL+path); answer.StatusCode != want {
			t.Errorf("%s gives %d, want %d", path, answer.StatusCode, want)
		}
	}
	if answer, _ := get(t, server.URL+"/work", "x-tars-canary", "always"); answer.StatusCode != http.StatusOK {
		t.Errorf("with the canary header: %d, want 200", answer.StatusCode)
	}
	setFaults(t, server.URL, "{}")
	if answer, _ := get(t, server.URL+"/work"); answer.StatusCode != http.StatusOK {
		t.Errorf("after the faults were cleared: %d, want 200", answer.StatusCode)
	}
}

func TestErrorShareIsAShare(t *testing.T) {
	_, server := newTestServer(t)
	setFaults(t, server.URL, `{"error_share": 0.3}`)
	failed := 0
	for range 1000 {
		if answer, _ := get(t, server.URL+"/work"); answer.StatusCode == http.StatusInternalServerError {
			failed++
		}
	}
	// 300 expected, standard deviation 14.5: seven of them.
	if failed < 200 || failed > 400 {
		t.Errorf("%d of 1000 failed, want about 300", failed)
	}
}

func TestLatencyIsInTheHistogram(t *testing.T) {
	_, server := newTestServer(t)
	setFaults(t, server.URL, `{"latency_ms": 130}`)
	get(t, server.URL+"/work")
	below, _ := sample(t, server.URL, `http_request_duration_seconds_bucket{path="/work",le="0.12"}`)
	all, _ := sample(t, server.URL, `http_request_duration_seconds_count{path="/work"}`)
	if below != 0 || all != 1 {
		t.Errorf("%v of %v requests within 120 ms, want 0 of 1", below, all)
	}
}

func TestMemoryIsResidentUntilCleared(t *testing.T) {
	_, server := newTestServer(t)
	resident := func() float64 {
		value, ok := sample(t, server.URL, "process_resident_memory_bytes")
		if !ok {
			t.Fatal("there is no process_resident_memory_bytes")
		}
		return value
	}
	before := resident()
	setFaults(t, server.URL, `{"memory_mb": 100}`)
	if grown := resident() - before; grown < 95<<20 {
		t.Errorf("grew by %.0f MB, want about 100", grown/(1<<20))
	}
	setFaults(t, server.URL, "{}")
	if left := resident() - before; left > 40<<20 {
		t.Errorf("%.0f MB are left, want next to nothing", left/(1<<20))
	}
}

func TestCrashEndsWithStatus1(t *testing.T) {
	s, server := newTestServer(t)
	code := make(chan int, 1)
	s.Faults.exit = func(c int) { code <- c }
	setFaults(t, server.URL, `{"crash": true}`)
	select {
	case c := <-code:
		if c != 1 {
			t.Errorf("exit status %d, want 1", c)
		}
	case <-time.After(5 * time.Second):
		t.Error("it did not crash")
	}
}

func TestWrongFaultsAreRefused(t *testing.T) {
	s, server := newTestServer(t)
	for _, body := range []string{"", "[]", `{"error_share": 2}`, `{"error_share": -1}`, `{"latency_ms": -1}`, `{"memory_mb": -1}`, `{"errors": 1}`} {
		if status := setFaults(t, server.URL, body); status != http.StatusBadRequest {
			t.Errorf("%s gives %d, want 400", body, status)
		}
	}
	if s.Faults.Active() != (Faults{}) {
		t.Errorf("refused faults are active: %+v", s.Faults.Active())
	}
}

func TestWithoutTheSwitchThereAreNoFaults(t *testing.T) {
	t.Setenv("TARS_FAULT_SWITCH", "")
	s, err := New("test", release.Release{Version: "1.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	if status := setFaults(t, server.URL, `{"error_share": 1}`); status != http.StatusNotFound {
		t.Errorf("the switch answered %d, want 404", status)
	}
}

func TestWrongSettingsAreErrors(t *testing.T) {
	for name, value := range map[string]string{"TARS_DRAIN_SECONDS": "soon", "TARS_FAULT_SWITCH": "maybe"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if _, err := New("test", release.Release{}); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("New gives %v, want an error that names %s", err, name)
			}
		})
	}
}

func TestReadyWaitsForEveryCondition(t *testing.T) {
	s, server := newTestServer(t)
	there := false
	s.ReadyWhen("the database", func() bool { return there })
	if answer, body := get(t, server.URL+"/ready"); answer.StatusCode != 503 || !strings.Contains(body, "the database") {
		t.Errorf("before: %d %s", answer.StatusCode, body)
	}
	there = true
	if answer, _ := get(t, server.URL+"/ready"); answer.StatusCode != 200 {
		t.Errorf("after: %d", answer.StatusCode)
	}
}

// A termination fails readiness at once, serves during the drain, answers what
// is still open, and ends without an error.
func TestTerminationLosesNoRequest(t *testing.T) {
	t.Setenv("POD_IP", "127.0.0.77")
	t.Setenv("TARS_DRAIN_SECONDS", "0.5")
	s, err := New("test", release.Release{Version: "1.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	s.Handle("GET /slow", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(time.Second)
		WriteJSON(w, http.StatusOK, "done")
	})
	s.Handle("GET /work", func(w http.ResponseWriter, _ *http.Request) { WriteJSON(w, http.StatusOK, "done") })
	drained := false
	s.AtDrainEnd(func() { drained = true })
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	base := "http://127.0.0.77:8080"
	until(t, "the server answers", func() bool {
		answer, err := http.Get(base + "/ready")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})

	slow := make(chan int, 1)
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "readiness fails", func() bool {
		answer, _ := get(t, base+"/ready")
		return answer.StatusCode == http.StatusServiceUnavailable
	})
	go func() {
		answer, err := http.Get(base + "/slow")
		if err != nil {
			t.Error(err)
			slow <- 0
			return
		}
		answer.Body.Close()
		slow <- answer.StatusCode
	}()
	if answer, _ := get(t, base+"/work"); answer.StatusCode != http.StatusOK || !answer.Close {
		t.Errorf("while draining: %d, connection let go: %v", answer.StatusCode, answer.Close)
	}
	if status := <-slow; status != http.StatusOK {
		t.Errorf("the request that outlived the drain got %d", status)
	}
	if err := <-ended; err != nil || !drained {
		t.Errorf("ended with %v, drained: %v", err, drained)
	}
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("waited in vain: %s", what)
}

func TestAClientThatWentAwayIsNoServerError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, want := range []int{http.StatusServiceUnavailable, 499} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
		if WriteUnavailable(w, r, context.Canceled); w.Code != want {
			t.Errorf("status %d, want %d", w.Code, want)
		}
		cancel()
	}
}
