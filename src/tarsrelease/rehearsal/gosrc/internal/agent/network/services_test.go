package network

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// cluster fills the listers that informers fill in the agent.
func cluster(t *testing.T, services []*corev1.Service, all []*discoveryv1.EndpointSlice) Cluster {
	t.Helper()
	by := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	one, two := cache.NewIndexer(cache.MetaNamespaceKeyFunc, by), cache.NewIndexer(cache.MetaNamespaceKeyFunc, by)
	for _, service := range services {
		if err := one.Add(service); err != nil {
			t.Fatal(err)
		}
	}
	for _, slice := range all {
		if err := two.Add(slice); err != nil {
			t.Fatal(err)
		}
	}
	return Cluster{corelisters.NewServiceLister(one), discoverylisters.NewEndpointSliceLister(two)}
}

func service(name, ip string, port int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: ip, Ports: []corev1.ServicePort{{Name: "http", Port: port, Protocol: corev1.ProtocolTCP}}},
	}
}

func endpoint(address string, ready bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
}

func slice(service string, port int32, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	portName := "http"
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "prod", Name: service + "-" + strconv.Itoa(int(port)),
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		Ports:     []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
		Endpoints: endpoints,
	}
}

func TestTargetsAreTheReadyOnes(t *testing.T) {
	c := cluster(t, nil, []*discoveryv1.EndpointSlice{
		slice("api", 8080, endpoint("10.42.1.2", true), endpoint("10.42.1.1", true), endpoint("10.42.1.3", false)),
		slice("other", 8080, endpoint("10.42.1.9", true)),
	})
	want := []string{"10.42.1.1:8080", "10.42.1.2:8080"}
	if got := c.Targets("prod", "api", "http"); !reflect.DeepEqual(got, want) {
		t.Errorf("targets %v, want %v", got, want)
	}
	if got := c.Targets("prod", "api", "metrics"); len(got) != 0 {
		t.Errorf("an unknown port has targets %v", got)
	}
}

// greeter accepts on a free loopback port and says its name.
func greeter(t *testing.T, greeting string) int32 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			// Answers only after the client's half is closed: the proxy must
			// pass that on without ending the other half.
			go func() {
				defer connection.Close()
				said, _ := io.ReadAll(connection)
				fmt.Fprintf(connection, "%s got %s", greeting, said)
			}()
		}
	}()
	return int32(listener.Addr().(*net.TCPAddr).Port)
}

func freePort(t *testing.T) int32 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return int32(listener.Addr().(*net.TCPAddr).Port)
}

func TestProxyTakesTurnsAndPassesOverTheDead(t *testing.T) {
	front := freePort(t)
	c := cluster(t, []*corev1.Service{service("api", "127.0.0.1", front)}, []*discoveryv1.EndpointSlice{
		slice("api", greeter(t, "a"), endpoint("127.0.0.1", true)),
		slice("api", greeter(t, "b"), endpoint("127.0.0.1", true)),
		slice("api", freePort(t), endpoint("127.0.0.1", true)),
	})
	proxy := NewProxy(c, "")
	if !proxy.reconcile() || len(proxy.listeners) != 1 {
		t.Fatal("could not listen")
	}
	t.Cleanup(func() {
		for _, f := range proxy.listeners {
			f.close()
		}
	})
	heard := map[string]int{}
	for range 12 {
		connection, err := net.Dial("tcp", portKey("127.0.0.1", front))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(connection, "hi")
		if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(bufio.NewReader(connection))
		if err != nil {
			t.Fatal(err)
		}
		heard[string(answer)]++
		connection.Close()
	}
	if heard["a got hi"] < 4 || heard["b got hi"] < 4 || len(heard) != 2 {
		t.Errorf("answers %v", heard)
	}
}

func TestResolve(t *testing.T) {
	headless := service("db", corev1.ClusterIPNone, 5432)
	outside := service("mail", "", 25)
	outside.Spec.Type, outside.Spec.ExternalName = corev1.ServiceTypeExternalName, "smtp.example.org"
	hostname := "db-0"
	first := endpoint("10.42.1.1", true)
	first.Hostname = &hostname
	d := DNS{Domain: "cluster.local", Cluster: cluster(t,
		[]*corev1.Service{service("api", "10.43.0.7", 80), headless, outside},
		[]*discoveryv1.EndpointSlice{slice("db", 5432, first, endpoint("10.42.1.2", true), endpoint("10.42.1.3", false))})}
	cases := []struct {
		query     string
		addresses []string
		alias     string
		exists    bool
	}{
		{"api.prod.svc.cluster.local.", []string{"10.43.0.7"}, "", true},
		{"API.prod.svc.", []string{"10.43.0.7"}, "", true},
		{"api.prod.", []string{"10.43.0.7"}, "", true},
		{"db.prod.svc.cluster.local.", []string{"10.42.1.1", "10.42.1.2"}, "", true},
		{"db-0.db.prod.svc.cluster.local.", []string{"10.42.1.1"}, "", true},
		{"db-7.db.prod.svc.cluster.local.", nil, "", false},
		{"mail.prod.svc.cluster.local.", nil, "smtp.example.org", true},
		{"api.staging.svc.cluster.local.", nil, "", false},
		{"x.api.prod.svc.cluster.local.", []string{"10.43.0.7"}, "", false},
		{"example.org.", nil, "", false},
		{"localhost.", nil, "", false},
	}
	for _, c := range cases {
		addresses, alias, exists := d.resolve(c.query)
		if exists != c.exists || exists && (!reflect.DeepEqual(addresses, c.addresses) || alias != c.alias) {
			t.Errorf("%s: %v %q %v", c.query, addresses, alias, exists)
		}
	}
}

func TestDNSOverTheWire(t *testing.T) {
	d := DNS{Domain: "cluster.local", Cluster: cluster(t, []*corev1.Service{service("api", "10.43.0.7", 80)}, nil)}
	address := portKey("127.0.0.1", freePort(t))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx, address) }()
	ask := func(network, name string, kind uint16) *dns.Msg {
		t.Helper()
		client := &dns.Client{Net: network, Timeout: time.Second}
		question := new(dns.Msg).SetQuestion(name, kind)
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			answer, _, err := client.Exchange(question, address)
			if err == nil {
				return answer
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	for _, network := range []string{"udp", "tcp"} {
		answer := ask(network, "api.prod.svc.cluster.local.", dns.TypeA)
		if len(answer.Answer) != 1 || answer.Answer[0].(*dns.A).A.String() != "10.43.0.7" {
			t.Errorf("%s: %v", network, answer)
		}
	}
	if answer := ask("udp", "api.prod.svc.cluster.local.", dns.TypeAAAA); answer.Rcode != dns.RcodeSuccess || len(answer.Answer) != 0 {
		t.Errorf("AAAA of an IPv4 service: %v", answer)
	}
	if answer := ask("udp", "example.org.", dns.TypeA); answer.Rcode != dns.RcodeNameError {
		t.Errorf("a name outside: %v", answer)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("after the end: %v", err)
	}
}
