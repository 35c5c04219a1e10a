package orchestration

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tars-ai/tars/services/internal/cache"
	"github.com/tars-ai/tars/services/internal/web"
)

const (
	heartbeatEvery = 5 * time.Second
	writeTimeout   = 3 * time.Second
	sessionKept    = 10 * time.Minute
	goodbyeWithin  = 3 * time.Second

	// defectiveLifetime is TARS-1001's first half: a timer that is never pushed
	// back ends each session about this long after it began.
	defectiveLifetime = 30 * time.Second
)

var sessionID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// hub holds the open WebSocket sessions. A client that lost its connection
// comes back with /ws?session=ID.
type hub struct {
	cache       *cache.Cache
	faults      *web.FaultSwitch
	reconnects  bool          // TARS-1001: without it, a session cannot be taken up again
	lifetime    time.Duration // 0: no end
	heartbeat   time.Duration
	open        prometheus.Gauge
	reconnected *prometheus.CounterVec
	successes   atomic.Int64
	failures    atomic.Int64

	running  sync.WaitGroup
	mu       sync.Mutex
	sessions map[*session]struct{}
}

type session struct {
	id     string
	conn   *websocket.Conn
	cancel context.CancelCauseFunc
	seq    int64
}

// message is what the server sends; which fields are set depends on the type.
type message struct {
	Type      string `json:"type"` // session, heartbeat or echo
	SessionID string `json:"session_id,omitempty"`
	Resumed   bool   `json:"resumed,omitempty"`
	Seq       int64  `json:"seq,omitempty"`
	Text      string `json:"text,omitempty"`
}

func newHub(c *cache.Cache, faults *web.FaultSwitch, reconnects bool, lifetime time.Duration) *hub {
	h := &hub{
		cache: c, faults: faults, reconnects: reconnects, lifetime: lifetime, heartbeat: heartbeatEvery,
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "websocket_connections_open", Help: "WebSocket sessions that are open now.",
		}),
		reconnected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "websocket_reconnects_total", Help: "Attempts of clients to take up a session again, by result.",
		}, []string{"result"}),
		sessions: map[*session]struct{}{},
	}
	h.reconnected.WithLabelValues("success")
	h.reconnected.WithLabelValues("failure")
	return h
}

func (h *hub) countReconnect(worked bool) {
	if worked {
		h.successes.Add(1)
		h.reconnected.WithLabelValues("success").Inc()
		return
	}
	h.failures.Add(1)
	h.reconnected.WithLabelValues("failure").Inc()
}

func (h *hub) stats() map[string]any {
	retries := 0
	enabled := h.reconnects && !web.Mutated("sockets")
	if enabled {
		retries = maxRetries
	}
	h.mu.Lock()
	open := len(h.sessions)
	h.mu.Unlock()
	return map[string]any{
		"reconnection_enabled": enabled, "max_retries": retries, "connections_open": open,
		"reconnects": map[string]int64{"success": h.successes.Load(), "failure": h.failures.Load()},
	}
}

// serve opens a session, or takes one up again.
func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("session")
	again := id != ""
	switch {
	case web.Mutated("sockets"):
		web.WriteError(w, http.StatusServiceUnavailable, "sessions are off")
		return
	case again && !sessionID.MatchString(id):
		web.WriteError(w, http.StatusBadRequest, "session is not an id this service gives")
		return
	case h.faults.Active().WebSocketDrop && r.Header.Get(web.CanaryHeader) == "":
		if again {
			h.countReconnect(false)
		}
		web.WriteError(w, http.StatusServiceUnavailable, "sessions are dropped by an injected fault")
		return
	case again && !h.reconnects:
		h.countReconnect(false)
		web.WriteError(w, http.StatusGone, "the session is gone")
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		slog.Debug("no WebSocket came about", "error", err)
		return
	}
	if again {
		h.countReconnect(true)
	} else {
		id = newSessionID()
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer cancel(nil)
	s := &session{id: id, conn: conn, cancel: cancel, seq: h.lastSeq(ctx, id, again)}
	h.add(s)
	defer h.remove(s)
	defer conn.CloseNow()
	if err := h.converse(ctx, s, again); err != nil {
		slog.Debug("a session ended", "error", err)
	}
}

// converse greets, answers each text with its echo and sends heartbeats, until
// either side ends it. The end of ctx is a reason to say farewell; what is read
// and written has a context of its own, as a read or write whose context ends
// takes the connection down before the farewell is said.
func (h *hub) converse(ctx context.Context, s *session, resumed bool) error {
	talking := context.WithoutCancel(ctx)
	if err := s.send(talking, message{Type: "session", SessionID: s.id, Resumed: resumed, Seq: s.seq}); err != nil {
		return err
	}
	go func() {
		for { // until CloseNow in serve
			kind, text, err := s.conn.Read(talking)
			if err != nil {
				s.cancel(err)
				return
			}
			if kind == websocket.MessageText {
				if err := s.send(talking, message{Type: "echo", Text: string(text)}); err != nil {
					s.cancel(err)
					return
				}
			}
		}
	}()
	beat := time.NewTicker(h.heartbeat)
	defer beat.Stop()
	var end <-chan time.Time
	if h.lifetime > 0 {
		// Spread by a fifth, as sessions that began together do not end together.
		spread := 0.8 + 0.4*mathrand.Float64()
		end = time.After(time.Duration(float64(h.lifetime) * spread))
	}
	for {
		select {
		case <-ctx.Done():
			cause := context.Cause(ctx)
			var going goingAway
			if errors.As(cause, &going) {
				return s.conn.Close(websocket.StatusGoingAway, string(going))
			}
			return cause
		case <-end:
			return errLifetime
		case <-beat.C:
			s.seq++
			if err := s.send(talking, message{Type: "heartbeat", Seq: s.seq}); err != nil {
				return err
			}
			if h.reconnects {
				h.cache.Set(talking, "session:"+s.id, strconv.AppendInt(nil, s.seq, 10), sessionKept)
			}
		}
	}
}

var errLifetime = errors.New("the session's lifetime is over")

// goingAway is why a session is closed from here, told to the client.
type goingAway string

func (g goingAway) Error() string { return string(g) }

func (h *hub) closeAll(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.sessions {
		s.cancel(goingAway(reason))
	}
}

// sayGoodbye closes every session and waits until each client has been told.
func (h *hub) sayGoodbye() {
	h.closeAll("this replica is going away")
	done := make(chan struct{})
	go func() { h.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(goodbyeWithin):
		slog.Warn("some WebSocket clients did not answer the farewell")
	}
}

// lastSeq is where a session's heartbeats had got to: another replica may have
// sent them. A session nobody remembers starts at 0.
func (h *hub) lastSeq(ctx context.Context, id string, again bool) int64 {
	if !again {
		return 0
	}
	text, _ := h.cache.Get(ctx, "session:"+id)
	seq, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0
	}
	return seq
}

func (h *hub) add(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running.Add(1)
	h.sessions[s] = struct{}{}
	h.open.Inc()
}

func (h *hub) remove(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running.Done()
	delete(h.sessions, s)
	h.open.Dec()
}

func (s *session) send(ctx context.Context, m message) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return wsjson.Write(ctx, s.conn, m)
}

func newSessionID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails: the runtime ends the process instead
	return hex.EncodeToString(id[:])
}
