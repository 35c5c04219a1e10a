// Command agent is the node of a rehearsal cluster: a small kubelet that runs
// the containers of each pod as local processes, and beside it what a node
// needs: service addresses, DNS, kubectl logs and top, metrics.
package main

import (
	"context"
	"crypto/x509"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"tarsrelease/rehearsal/internal/agent/images"
	"tarsrelease/rehearsal/internal/agent/network"
	"tarsrelease/rehearsal/internal/agent/node"
	"tarsrelease/rehearsal/internal/agent/pods"
	"tarsrelease/rehearsal/internal/agent/serve"
	"tarsrelease/rehearsal/internal/agent/usage"
)

// shutdownLimit keeps the whole end under ten seconds.
const shutdownLimit = 8 * time.Second

type options struct {
	kubeconfig, images, nodeName, nodeAddress string
	logs, run, podCIDR, serviceCIDR           string
	tlsCert, tlsKey, clientCA                 string
	metricsAddress, listen, domain            string
	restartBackoff                            time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach the API server")
	flag.StringVar(&o.images, "images", "", "JSON file that names a command for each image")
	flag.StringVar(&o.nodeName, "node-name", "rehearsal", "name of the Node")
	flag.StringVar(&o.nodeAddress, "node-address", "10.42.0.1", "address of the Node")
	flag.StringVar(&o.logs, "logs", "", "folder for container logs")
	flag.StringVar(&o.run, "run", "", "folder for pods' scratch files")
	flag.StringVar(&o.podCIDR, "pod-cidr", "10.42.0.0/16", "pod addresses; the first 256 are the node's")
	flag.StringVar(&o.serviceCIDR, "service-cidr", "10.43.0.0/16", "service addresses; DNS is at the tenth")
	flag.StringVar(&o.tlsCert, "tls-cert", "", "certificate of the HTTPS endpoint")
	flag.StringVar(&o.tlsKey, "tls-key", "", "its key")
	flag.StringVar(&o.clientCA, "client-ca", "", "authority that signs the API server's client certificate")
	flag.StringVar(&o.metricsAddress, "metrics-address", "10.42.0.1:9401", "plain HTTP: /metrics and /healthz")
	flag.StringVar(&o.listen, "listen", "10.42.0.1:10250", "HTTPS: kubelet's endpoint and metrics.k8s.io")
	flag.StringVar(&o.domain, "cluster-domain", "cluster.local", "DNS domain of the cluster")
	flag.DurationVar(&o.restartBackoff, "restart-backoff", 10*time.Second, "first wait before a restart; doubles up to 5 minutes")
	flag.Parse()
	klog.SetOutput(os.Stderr)
	if err := o.complete(); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o); err != nil {
		slog.Error("the node agent failed", "error", err)
		os.Exit(1)
	}
}

// complete refuses a missing flag and makes paths independent of the folder
// that the agent was started in.
func (o *options) complete() error {
	for name, path := range map[string]*string{
		"kubeconfig": &o.kubeconfig, "images": &o.images, "logs": &o.logs, "run": &o.run,
		"tls-cert": &o.tlsCert, "tls-key": &o.tlsKey, "client-ca": &o.clientCA,
	} {
		if *path == "" {
			return fmt.Errorf("--%s is needed", name)
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	return os.MkdirAll(o.run, 0o755)
}

// run is the agent's life: register, watch, serve, and at the end stop all
// containers. It returns nil after ctx is done.
func run(ctx context.Context, o options) error {
	client, apiServer, err := connect(o.kubeconfig)
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(o.clientCA)
	if err != nil {
		return err
	}
	clients := &serve.Clients{Authority: x509.NewCertPool(), FrontProxy: serve.FrontProxy(client)}
	if !clients.Authority.AppendCertsFromPEM(authority) {
		return fmt.Errorf("%s holds no certificate", o.clientCA)
	}
	pool, err := network.NewPool(o.podCIDR)
	if err != nil {
		return err
	}
	dnsAddress, err := network.DNSAddress(o.serviceCIDR)
	if err != nil {
		return err
	}

	events, stopEvents := recorder(client, o.nodeName)
	defer stopEvents()
	writer := pods.NewWriter(client)
	manager := pods.NewManager(&pods.Runtime{
		NodeAddress: o.nodeAddress, RunDir: o.run, LogDir: o.logs, RestartBase: o.restartBackoff,
		BaseEnv: map[string]string{"PATH": os.Getenv("PATH")},
		Client:  client, Images: images.Open(o.images), Pool: pool, Events: events, Writer: writer,
	})
	sampler := usage.NewSampler(manager)
	served := serve.Node{Name: o.nodeName, Manager: manager, Usage: sampler}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failure error
	var once sync.Once
	fail := func(err error) {
		once.Do(func() { failure = err; cancel() })
	}
	var background sync.WaitGroup
	start := func(what string, work func() error) {
		background.Add(1)
		go func() {
			defer background.Done()
			if err := work(); err != nil {
				fail(fmt.Errorf("%s: %w", what, err))
			}
		}()
	}
	start("kubelet endpoint", func() error {
		return serve.HTTPS(ctx, o.listen, served.Handler(clients), o.tlsCert, o.tlsKey)
	})
	start("metrics endpoint", func() error { return serve.HTTP(ctx, o.metricsAddress, served.Metrics()) })

	self := node.Node{Client: client, Name: o.nodeName, Address: o.nodeAddress, Listen: o.listen, Disk: o.run}
	if err := self.Register(ctx); err != nil {
		background.Wait() // only the end of ctx ends the tries
		return failure
	}
	start("node", func() error { self.Run(ctx); return nil })
	start("status", func() error { writer.Run(ctx); return nil })
	start("usage", func() error { sampler.Run(ctx); return nil })

	factory := informers.NewSharedInformerFactory(client, 0)
	cluster, proxy, err := services(factory, apiServer, dnsAddress)
	if err != nil {
		return err
	}
	own, synced, err := watchPods(client, o.nodeName, manager)
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	start("service proxy", func() error { proxy.Run(ctx); return nil })
	start("DNS", func() error {
		factory.WaitForCacheSync(ctx.Done())
		if ctx.Err() != nil {
			return nil
		}
		return network.DNS{Cluster: cluster, Domain: o.domain}.Run(ctx, dnsAddress)
	})
	start("pods", func() error { own.RunWithContext(ctx); return nil })
	if cache.WaitForCacheSync(ctx.Done(), synced) {
		manager.Sweep()
		slog.Info("the node agent is ready", "node", o.nodeName)
	}

	<-ctx.Done()
	manager.Shutdown(shutdownLimit)
	factory.Shutdown()
	background.Wait()
	return failure
}

// connect reads the kubeconfig; the second result is the API server's
// host:port.
func connect(path string) (kubernetes.Interface, string, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, "", err
	}
	// One node's worth of pods starting at once must not wait for itself.
	config.QPS, config.Burst = 200, 400
	config.UserAgent = "tarsrelease-node-agent"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, "", err
	}
	host, err := network.HostPort(config.Host)
	return client, host, err
}

func recorder(client kubernetes.Interface, nodeName string) (record.EventRecorder, func()) {
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcore.EventSinkImpl{Interface: client.CoreV1().Events("")})
	return broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: nodeName}), broadcaster.Shutdown
}

// services makes what answers for cluster addresses; the proxy follows the
// informer of the services.
func services(factory informers.SharedInformerFactory, apiServer, dnsAddress string) (network.Cluster, *network.Proxy, error) {
	watched := factory.Core().V1().Services()
	cluster := network.Cluster{Services: watched.Lister(), Slices: factory.Discovery().V1().EndpointSlices().Lister()}
	proxy := network.NewProxy(cluster, apiServer, dnsAddress)
	_, err := watched.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { proxy.Changed() },
		UpdateFunc: func(any, any) { proxy.Changed() },
		DeleteFunc: func(any) { proxy.Changed() },
	})
	return cluster, proxy, err
}

// watchPods makes the informer of the pods bound to this node.
func watchPods(client kubernetes.Interface, nodeName string, manager *pods.Manager) (cache.SharedIndexInformer, cache.InformerSynced, error) {
	own := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", nodeName).String()
	})).Core().V1().Pods().Informer()
	registration, err := own.AddEventHandler(manager)
	if err != nil {
		return nil, nil, err
	}
	return own, registration.HasSynced, nil
}
