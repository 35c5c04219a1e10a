package main

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

const (
	sessionRetries  = 5
	sessionPause    = 500 * time.Millisecond
	handshakeWithin = 10 * time.Second
	// silentFor is how long a session may say nothing before it counts as dead;
	// the services send a heartbeat every 5 s.
	silentFor = 20 * time.Second
)

// sessions keeps WebSocket sessions open as a client does that wants its own
// session back: after a drop it reconnects with the session's id, and only when
// that has failed sessionRetries times, or was refused, begins a new one.
type sessions struct {
	endpoint string
	host     string
	counts   *counts
}

func newSessions(target, host, path string, c *counts) *sessions {
	return &sessions{endpoint: target + path, host: host, counts: c}
}

// keep keeps one session open until ctx ends.
func (s *sessions) keep(ctx context.Context) {
	id, attempts := "", 0
	for ctx.Err() == nil {
		conn, status, err := s.dial(ctx, id)
		if err != nil {
			if ctx.Err() == nil {
				s.counts.session(func(w *webSockets) { w.Failed++ })
			}
			attempts++
			if status == http.StatusGone || attempts >= sessionRetries {
				id, attempts = "", 0
			}
			wait(ctx, sessionPause)
			continue
		}
		attempts = 0
		again := id != ""
		s.counts.session(func(w *webSockets) {
			w.Open++
			if again {
				w.Reconnects++
			} else {
				w.Opened++
			}
		})
		id = s.follow(ctx, conn, id)
		s.counts.session(func(w *webSockets) { w.Open-- })
	}
}

// dial opens a session, or takes up the one with this id. The status is the
// HTTP answer's, 0 where there was none.
func (s *sessions) dial(ctx context.Context, id string) (*websocket.Conn, int, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeWithin)
	defer cancel()
	endpoint := s.endpoint
	if id != "" {
		endpoint += "?session=" + url.QueryEscape(id)
	}
	conn, answer, err := websocket.Dial(ctx, endpoint, &websocket.DialOptions{Host: s.host})
	status := 0
	if answer != nil {
		status = answer.StatusCode
	}
	return conn, status, err
}

// follow reads until the connection ends and gives the session's id.
func (s *sessions) follow(ctx context.Context, conn *websocket.Conn, id string) string {
	defer conn.CloseNow()
	for {
		var message struct {
			SessionID string `json:"session_id"`
		}
		reading, cancel := context.WithTimeout(ctx, silentFor)
		err := wsjson.Read(reading, conn, &message)
		cancel()
		if err != nil {
			return id
		}
		if message.SessionID != "" {
			id = message.SessionID
		}
	}
}

func wait(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}
