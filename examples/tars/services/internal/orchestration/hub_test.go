package orchestration

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/tars-ai/tars/services/internal/cache"
	"github.com/tars-ai/tars/services/internal/release"
	"github.com/tars-ai/tars/services/internal/web"
)

// start serves the orchestration agent's routes without a Redis.
func start(t *testing.T, version string, lifetime time.Duration) (*hub, *httptest.Server) {
	t.Helper()
	t.Setenv("TARS_FAULT_SWITCH", "true")
	t.Setenv("REDIS_ADDR", "127.0.0.1:1")
	rel := release.Release{Version: version}
	server, err := web.New("orchestration-agent", rel)
	if err != nil {
		t.Fatal(err)
	}
	hot := cache.Open(rel)
	t.Cleanup(func() { _ = hot.Close() })
	h := newHub(hot, server.Faults, rel.Has(release.WebSocketReconnection), lifetime)
	h.heartbeat = 50 * time.Millisecond
	routes(server, h)
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	return h, listener
}

func dial(t *testing.T, server *httptest.Server, session string) (*websocket.Conn, int, error) {
	t.Helper()
	address := server.URL + "/ws"
	if session != "" {
		address += "?session=" + session
	}
	conn, answer, err := websocket.Dial(t.Context(), address, nil)
	status := 0
	if answer != nil {
		status = answer.StatusCode
	}
	return conn, status, err
}

func next(t *testing.T, conn *websocket.Conn, kind string) message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	for {
		var m message
		if err := wsjson.Read(ctx, conn, &m); err != nil {
			t.Fatalf("waiting for a %s: %v", kind, err)
		}
		if m.Type == kind {
			return m
		}
	}
}

func stats(t *testing.T, server *httptest.Server) map[string]any {
	t.Helper()
	answer, err := http.Get(server.URL + "/api/v1/websocket/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var s map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func metric(t *testing.T, server *httptest.Server, line string) bool {
	t.Helper()
	answer, err := http.Get(server.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(body), "\n"+line+"\n")
}

func TestSessionEchoesAndBeats(t *testing.T) {
	_, server := start(t, "1.0.1", 0)
	conn, _, err := dial(t, server, "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if m := next(t, conn, "session"); !sessionID.MatchString(m.SessionID) || m.Resumed {
		t.Errorf("greeting %+v", m)
	}
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if m := next(t, conn, "echo"); m.Text != "hello" {
		t.Errorf("echo %+v", m)
	}
	if first, second := next(t, conn, "heartbeat"), next(t, conn, "heartbeat"); second.Seq != first.Seq+1 {
		t.Errorf("heartbeats %d, %d", first.Seq, second.Seq)
	}
	if !metric(t, server, "websocket_connections_open 1") ||
		!metric(t, server, `http_requests_total{method="GET",path="/ws",status="101"} 1`) {
		t.Error("the open session is not in the metrics")
	}
}

func TestReconnectionByVersion(t *testing.T) {
	for version, works := range map[string]bool{"1.0.0": false, "1.0.1": true} {
		t.Run(version, func(t *testing.T) {
			_, server := start(t, version, 0)
			conn, _, err := dial(t, server, "")
			if err != nil {
				t.Fatal(err)
			}
			id := next(t, conn, "session").SessionID
			conn.CloseNow()

			again, status, err := dial(t, server, id)
			if (err == nil) != works {
				t.Fatalf("reconnecting: status %d, %v", status, err)
			}
			result := "failure"
			if works {
				result = "success"
				if m := next(t, again, "session"); m.SessionID != id || !m.Resumed {
					t.Errorf("greeting %+v", m)
				}
				again.CloseNow()
			} else if status != http.StatusGone {
				t.Errorf("status %d, want 410", status)
			}
			if !metric(t, server, `websocket_reconnects_total{result="`+result+`"} 1`) {
				t.Errorf("the %s is not counted", result)
			}
			s := stats(t, server)
			if s["reconnection_enabled"] != works || (s["max_retries"] == 5.0) != works {
				t.Errorf("stats %v", s)
			}
		})
	}
}

func TestDefectiveSessionsEndByThemselves(t *testing.T) {
	_, server := start(t, "1.0.0", 200*time.Millisecond)
	conn, _, err := dial(t, server, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	for {
		if _, _, err = conn.Read(ctx); err != nil {
			break
		}
	}
	if ctx.Err() != nil {
		t.Error("the session went on")
	}
}

func TestMalformedSessionIsRefused(t *testing.T) {
	_, server := start(t, "1.0.1", 0)
	if _, status, err := dial(t, server, "nonsense"); err == nil || status != http.StatusBadRequest {
		t.Errorf("status %d, %v", status, err)
	}
}

func TestDropFaultEndsSessionsAndRefusesNewOnes(t *testing.T) {
	_, server := start(t, "1.0.1", 0)
	conn, _, err := dial(t, server, "")
	if err != nil {
		t.Fatal(err)
	}
	id := next(t, conn, "session").SessionID
	answer, err := http.Post(server.URL+"/_faults", "application/json", strings.NewReader(`{"websocket_drop": true}`))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	for err == nil {
		_, _, err = conn.Read(t.Context())
	}
	if websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the session ended with %v", err)
	}
	if _, status, err := dial(t, server, id); err == nil || status != http.StatusServiceUnavailable {
		t.Errorf("reconnecting: status %d, %v", status, err)
	}
	if !metric(t, server, `websocket_reconnects_total{result="failure"} 1`) {
		t.Error("the failure is not counted")
	}
}

func TestGoodbyeReachesEveryClient(t *testing.T) {
	h, server := start(t, "1.0.1", 0)
	ends := make(chan error, 10)
	for range cap(ends) {
		conn, _, err := dial(t, server, "")
		if err != nil {
			t.Fatal(err)
		}
		next(t, conn, "session")
		go func() {
			var err error
			for err == nil {
				_, _, err = conn.Read(context.Background())
			}
			ends <- err
		}()
	}
	h.sayGoodbye()
	for range cap(ends) {
		if err := <-ends; websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("a session ended with %v", err)
		}
	}
	if !metric(t, server, "websocket_connections_open 0") {
		t.Error("a session is still counted as open")
	}
}
