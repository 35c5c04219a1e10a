// Package serve is what the node agent answers: kubelet's endpoint for logs and
// exec, the resource metrics API behind kubectl top, and metrics for Prometheus.
package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"tarsrelease/rehearsal/internal/agent/pods"
	"tarsrelease/rehearsal/internal/agent/usage"
)

// Node answers for one node.
type Node struct {
	Name    string
	Manager *pods.Manager
	Usage   *usage.Sampler
}

// Handler is the HTTPS endpoint: kubelet's paths for the API server, and the
// aggregated API metrics.k8s.io. Everything but /healthz needs a client
// certificate; the API server has authorized the user before it asks here.
func (n Node) Handler(clients *Clients) http.Handler {
	kubelet := http.NewServeMux()
	kubelet.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", n.logs)
	kubelet.HandleFunc("/exec/{namespace}/{pod}/{container}", n.exec)
	kubelet.HandleFunc("/portForward/{namespace}/{pod}", n.portForward)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthy)
	mux.Handle("/", clients.only(false, kubelet))
	mux.Handle("/apis", clients.only(true, n.resourceMetrics()))
	mux.Handle("/apis/", clients.only(true, n.resourceMetrics()))
	return mux
}

func healthy(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "ok") // a client that went away needs no answer
}

// HTTPS serves handler on address until ctx is done.
func HTTPS(ctx context.Context, address string, handler http.Handler, certificate, key string) error {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	// SPDY, on which exec and port-forward run, upgrades HTTP/1.1 only.
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair},
		ClientAuth: tls.RequestClientCert, NextProtos: []string{"http/1.1"},
	}
	return serve(ctx, tls.NewListener(listener, config), handler)
}

// HTTP serves handler on address until ctx is done.
func HTTP(ctx context.Context, address string, handler http.Handler) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return serve(ctx, listener, handler)
}

func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		// A follower of a log ends with the agent.
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(io.Discard, "", 0), // handshakes cut short by probes of the port
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		err := server.Close()
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			return errors.Join(err, served)
		}
		return err
	}
}

// Clients decides who may ask, by the authority of the client's certificate.
type Clients struct {
	Authority *x509.CertPool // signs the API server's client certificate for kubelets
	// FrontProxy gives the authority of the API server's certificate for
	// aggregated APIs.
	FrontProxy func(context.Context) (*x509.CertPool, error)
}

func (c *Clients) only(aggregated bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if signedBy(r.TLS, c.Authority) {
			next.ServeHTTP(w, r)
			return
		}
		if aggregated {
			pool, err := c.FrontProxy(r.Context())
			if err != nil {
				slog.Warn("the front proxy's authority is not known", "error", err)
				http.Error(w, "the front proxy's authority is not known: "+err.Error(), http.StatusServiceUnavailable)
				return
			}
			if signedBy(r.TLS, pool) {
				next.ServeHTTP(w, r)
				return
			}
		}
		http.Error(w, "a client certificate of the cluster's authority is needed", http.StatusUnauthorized)
	})
}

func signedBy(state *tls.ConnectionState, authority *x509.CertPool) bool {
	if state == nil || len(state.PeerCertificates) == 0 || authority == nil {
		return false
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: authority, Intermediates: intermediates,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}
