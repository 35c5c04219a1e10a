package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"
)

const requestTimeout = 30 * time.Second

// sender sends the plan's requests to one target over kept-alive connections.
type sender struct {
	target   string
	header   string // a header of every request, and its value; empty: none
	value    string
	client   *http.Client
	counts   *counts
	inFlight sync.WaitGroup
}

func newSender(target string, c *counts) *sender {
	return &sender{target: target, counts: c, client: &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			DialContext:  (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			MaxIdleConns: 0,
			// More than are ever open at once: a connection that is thrown away
			// leaves a TIME_WAIT behind.
			MaxIdleConnsPerHost: 1024,
			IdleConnTimeout:     60 * time.Second,
			DisableCompression:  true,
		},
		// A redirect is an answer like any other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// send starts one request and does not wait for its answer.
func (s *sender) send(ctx context.Context, a aim) {
	epoch := s.counts.sending(a.Path)
	s.inFlight.Add(1)
	go func() {
		defer s.inFlight.Done()
		s.counts.ended(epoch, s.ask(ctx, a))
	}()
}

func (s *sender) ask(ctx context.Context, a aim) outcome {
	o := outcome{path: a.Path}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.target+a.Path, nil)
	if err != nil {
		o.problem = "the request could not be made: " + err.Error()
		return o
	}
	request.Host = a.Host
	if s.header != "" {
		request.Header.Set(s.header, s.value)
	}
	started := time.Now()
	answer, err := s.client.Do(request)
	if err != nil {
		o.problem = kindOf(err)
		return o
	}
	_, err = io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	o.took = time.Since(started)
	if err != nil {
		o.problem = "answer cut off: " + kindOf(err)
		return o
	}
	o.status = answer.StatusCode
	o.version, o.deployment = answer.Header.Get("X-Tars-Version"), answer.Header.Get("X-Tars-Deployment")
	return o
}

// kindOf names an error without what differs from request to request.
func kindOf(err error) string {
	var timeout interface{ Timeout() bool }
	var failed *url.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	case errors.As(err, &failed):
		return failed.Err.Error()
	}
	return err.Error()
}
