// Command loadgen sends a constant rate of requests to a gateway, keeps
// WebSocket sessions open, and counts what came of them, as the clients of a
// release would see it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

var logOutput io.Writer = os.Stderr

// lastAnswers is how long answers are waited for after the last request.
const lastAnswers = 5 * time.Second

type options struct {
	target, plan, report, wsHost, wsPath string
	header                               string
	webSockets                           int
	rate                                 float64
}

func main() {
	var o options
	flag.StringVar(&o.target, "target", "http://10.42.0.1:8000", "the gateway's address")
	flag.StringVar(&o.plan, "plan", "", "JSON list of {host, path, rate (requests/s)}, or the name of a file that holds it")
	flag.Float64Var(&o.rate, "rate", -1, "requests/s in all, in the plan's proportions (default: the plan's sum; 0: pause)")
	flag.IntVar(&o.webSockets, "websockets", 0, "WebSocket sessions to keep open")
	flag.StringVar(&o.wsHost, "websocket-host", "api.tars.ai", "host name of the WebSocket sessions")
	flag.StringVar(&o.wsPath, "websocket-path", "/ws", "path of the WebSocket sessions")
	flag.StringVar(&o.header, "header", "", "NAME=VALUE, a header of every request")
	flag.StringVar(&o.report, "report", "127.0.0.1:9400", "address to serve /report, /rate and /reset on")
	flag.Parse()
	if os.Getenv("GOMAXPROCS") == "" {
		// One core carries thousands of requests a second; a second one would
		// only be woken and sent to sleep again, at the tested system's expense.
		runtime.GOMAXPROCS(1)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "loadgen:", err)
		os.Exit(1)
	}
}

// run sends until SIGTERM or SIGINT and prints the last report on standard output.
func run(o options) error {
	plan, err := readPlan(o.plan)
	if err != nil {
		return err
	}
	if o.rate < 0 {
		o.rate = totalRate(plan)
	}
	listener, err := net.Listen("tcp", o.report)
	if err != nil {
		return fmt.Errorf("listen for questions: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	c, p := newCounts(), &pace{rate: o.rate}
	server := &http.Server{Handler: control(c, p), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(logOutput, "the report is no longer served:", err)
			stop()
		}
	}()

	var open sync.WaitGroup
	s := newSessions(o.target, o.wsHost, o.wsPath, c)
	for range o.webSockets {
		open.Go(func() { s.keep(ctx) })
	}
	requests, pick := newSender(o.target, c), newPicker(plan)
	requests.header, requests.value, _ = strings.Cut(o.header, "=")
	// The requests outlive the signal: each that was sent is waited for.
	p.run(ctx, func() { requests.send(context.WithoutCancel(ctx), plan[pick.next()]) })

	waitAtMost(&requests.inFlight, lastAnswers)
	waitAtMost(&open, lastAnswers)
	if err := server.Close(); err != nil {
		fmt.Fprintln(logOutput, err)
	}
	last := c.snapshot()
	last.Rate = p.get()
	return json.NewEncoder(os.Stdout).Encode(last)
}

func waitAtMost(group *sync.WaitGroup, longest time.Duration) {
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(longest):
	}
}
