package network

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// dialTimeout bounds one attempt; every address is local, so a listener that
// does not answer at once is not there.
const dialTimeout = time.Second

// retryListen is how soon a cluster address that could not be listened on is
// tried again.
const retryListen = 5 * time.Second

// Proxy listens on each service's cluster address and ports and carries every
// connection to a ready endpoint, in turn; an endpoint that refuses is passed
// over.
type Proxy struct {
	Cluster   Cluster
	APIServer string          // host:port behind the service default/kubernetes
	Skip      map[string]bool // host:port of cluster addresses that others serve (DNS)

	wake      chan struct{}
	listeners map[string]*forwarder
}

// NewProxy makes a proxy; Run makes it work.
func NewProxy(cluster Cluster, apiServer string, skip ...string) *Proxy {
	p := &Proxy{
		Cluster: cluster, APIServer: apiServer, Skip: map[string]bool{},
		wake: make(chan struct{}, 1), listeners: map[string]*forwarder{},
	}
	for _, address := range skip {
		p.Skip[address] = true
	}
	return p
}

// Changed tells that services changed; it never blocks.
func (p *Proxy) Changed() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run keeps one listener per service port until ctx is done.
func (p *Proxy) Run(ctx context.Context) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, f := range p.listeners {
				f.close()
			}
			return
		case <-p.wake:
		case <-retry.C:
		}
		if !p.reconcile() {
			retry.Reset(retryListen)
		}
	}
}

// reconcile opens and closes listeners; false asks to be called again.
func (p *Proxy) reconcile() bool {
	wanted := p.wanted()
	for key, f := range p.listeners {
		if target, ok := wanted[key]; !ok || target != f.target {
			f.close()
			delete(p.listeners, key)
		}
	}
	complete := true
	for key, target := range wanted {
		if p.listeners[key] != nil {
			continue
		}
		listener, err := net.Listen("tcp", key)
		if err != nil {
			slog.Warn("cannot listen on a service's address", "address", key, "error", err)
			complete = false
			continue
		}
		f := &forwarder{proxy: p, target: target, listener: listener, open: map[net.Conn]struct{}{}}
		p.listeners[key] = f
		go f.serve()
	}
	return complete
}

// target is the port of a service that a listener stands for.
type target struct{ namespace, service, port string }

func (p *Proxy) wanted() map[string]target {
	services, err := p.Cluster.Services.List(labels.Everything())
	if err != nil {
		return nil // a lister reads memory; it has no error to give
	}
	wanted := map[string]target{}
	for _, service := range services {
		ip := service.Spec.ClusterIP
		if ip == "" || ip == corev1.ClusterIPNone || service.Spec.Type == corev1.ServiceTypeExternalName {
			continue
		}
		for _, port := range service.Spec.Ports {
			key := portKey(ip, port.Port)
			if isTCP(&port.Protocol) && !p.Skip[key] {
				wanted[key] = target{service.Namespace, service.Name, port.Name}
			}
		}
	}
	return wanted
}

// targets of a service port; the API server itself is found without the API.
func (p *Proxy) targets(t target) []string {
	if t.namespace == "default" && t.service == "kubernetes" {
		return []string{p.APIServer}
	}
	return p.Cluster.Targets(t.namespace, t.service, t.port)
}

// forwarder is one listener and its connections.
type forwarder struct {
	proxy    *Proxy
	target   target
	listener net.Listener
	turn     atomic.Uint64

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
}

func (f *forwarder) serve() {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			f.mu.Lock()
			closed := f.closed
			f.mu.Unlock()
			if closed {
				return
			}
			slog.Warn("accepting for a service failed", "service", f.target, "error", err)
			time.Sleep(100 * time.Millisecond) // out of file descriptors: let some close
			continue
		}
		go f.carry(client)
	}
}

// close ends the listener and what it carries: the service is gone.
func (f *forwarder) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.listener.Close()
	for connection := range f.open {
		connection.Close()
	}
}

func (f *forwarder) carry(client net.Conn) {
	if !f.track(client) {
		client.Close()
		return
	}
	defer f.forget(client)
	server := f.dial()
	if server == nil {
		reset(client)
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Add(2)
	go func() { defer both.Done(); pipe(server, client) }()
	go func() { defer both.Done(); pipe(client, server) }()
	both.Wait()
}

// dial tries each ready endpoint once, beginning with the next in turn.
func (f *forwarder) dial() net.Conn {
	targets := f.proxy.targets(f.target)
	first := f.turn.Add(1) - 1
	for i := range targets {
		address := targets[(first+uint64(i))%uint64(len(targets))]
		if connection, err := net.DialTimeout("tcp", address, dialTimeout); err == nil {
			return connection
		}
	}
	return nil
}

func (f *forwarder) track(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.open[c] = struct{}{}
	return true
}

func (f *forwarder) forget(c net.Conn) {
	c.Close()
	f.mu.Lock()
	delete(f.open, c)
	f.mu.Unlock()
}

// pipe copies one direction and passes its end on. A broken direction breaks
// the other one too, else half of a dead connection would stay for ever.
func pipe(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err != nil {
		reset(to)
		reset(from)
		return
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the peer closed first: nothing left to tell it
	}
}

// reset closes a connection so that the peer sees a failure, not an end, and
// no TIME_WAIT stays behind.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // closed already: nothing to reset
	}
	c.Close()
}
