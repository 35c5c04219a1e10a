package serve

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"testing"
	"time"

	"tarsrelease/rehearsal/internal/agent/containerlog"
	"tarsrelease/rehearsal/internal/agent/pods"
)

// authority signs client certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{certificate, key}
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

func (a authority) client(t *testing.T, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestWhoMayAsk(t *testing.T) {
	cluster, frontProxy, stranger := newAuthority(t), newAuthority(t), newAuthority(t)
	clients := &Clients{Authority: cluster.pool(), FrontProxy: func(context.Context) (*x509.CertPool, error) {
		return frontProxy.pool(), nil
	}}
	manager := pods.NewManager(&pods.Runtime{RunDir: t.TempDir()})
	server := httptest.NewUnstartedServer(Node{Name: "n", Manager: manager}.Handler(clients))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	const logs, discovery = "/containerLogs/ns/p/c", "/apis/metrics.k8s.io/v1beta1"
	apiServer, proxy := cluster.client(t, x509.ExtKeyUsageClientAuth), frontProxy.client(t, x509.ExtKeyUsageClientAuth)
	other, wrongUse := stranger.client(t, x509.ExtKeyUsageClientAuth), cluster.client(t, x509.ExtKeyUsageServerAuth)
	cases := []struct {
		name, path string
		client     *tls.Certificate
		want       int
	}{
		{"anybody asks for health", "/healthz", nil, http.StatusOK},
		{"nobody in particular", logs, nil, http.StatusUnauthorized},
		{"the API server", logs, &apiServer, http.StatusNotFound}, // let in: there is no such pod
		{"another authority's", logs, &other, http.StatusUnauthorized},
		{"a server's certificate", logs, &wrongUse, http.StatusUnauthorized},
		{"the front proxy as kubelet's client", logs, &proxy, http.StatusUnauthorized},
		{"the front proxy", discovery, &proxy, http.StatusOK},
		{"the API server itself", discovery, &apiServer, http.StatusOK},
		{"another authority's for metrics", discovery, &other, http.StatusUnauthorized},
	}
	for _, c := range cases {
		transport := server.Client().Transport.(*http.Transport).Clone()
		if c.client != nil {
			// Sent whatever authorities the server names: it names none.
			transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return c.client, nil
			}
		}
		response, err := (&http.Client{Transport: transport}).Get(server.URL + c.path)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		response.Body.Close()
		transport.CloseIdleConnections()
		if response.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", c.name, response.StatusCode, c.want)
		}
	}
}

func TestLogOptions(t *testing.T) {
	now := time.Unix(5000, 0)
	got, err := logOptions(url.Values{"tailLines": {"3"}, "sinceSeconds": {"60"}, "timestamps": {"true"}, "limitBytes": {"9"}}, now)
	want := containerlog.Options{Tail: 3, Since: time.Unix(4940, 0), Timestamps: true, LimitBytes: 9}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := logOptions(url.Values{}, now); err != nil || got.Tail != -1 {
		t.Errorf("without a query: %+v, %v; want all lines", got, err)
	}
	for _, bad := range []url.Values{{"tailLines": {"x"}}, {"tailLines": {"-1"}}, {"sinceTime": {"yesterday"}}} {
		if _, err := logOptions(bad, now); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}

func TestChooseRun(t *testing.T) {
	cases := []struct {
		name      string
		container pods.ContainerSnapshot
		previous  bool
		want      int32
	}{
		{"running", pods.ContainerSnapshot{PID: 1, Run: 2}, false, 2},
		{"running, previous", pods.ContainerSnapshot{PID: 1, Run: 2}, true, 1},
		{"in back-off", pods.ContainerSnapshot{Run: 2, Waiting: "CrashLoopBackOff"}, false, 2},
		{"in back-off, previous", pods.ContainerSnapshot{Run: 2, Waiting: "CrashLoopBackOff"}, true, 2},
		{"first run, previous", pods.ContainerSnapshot{PID: 1}, true, -1},
	}
	for _, c := range cases {
		if run, _ := chooseRun(c.container, c.previous); run != c.want {
			t.Errorf("%s: run %d, want %d", c.name, run, c.want)
		}
	}
}
