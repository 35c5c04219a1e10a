package serve

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// FrontProxy reads the authority where the API server publishes it for
// aggregated APIs; it is read once, at the first question.
func FrontProxy(client kubernetes.Interface) func(context.Context) (*x509.CertPool, error) {
	var mu sync.Mutex
	var known *x509.CertPool
	return func(ctx context.Context) (*x509.CertPool, error) {
		mu.Lock()
		defer mu.Unlock()
		if known != nil {
			return known, nil
		}
		published, err := client.CoreV1().ConfigMaps("kube-system").Get(ctx, "extension-apiserver-authentication", metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(published.Data["requestheader-client-ca-file"])) {
			return nil, errors.New("kube-apiserver runs without --requestheader-client-ca-file")
		}
		known = pool
		return known, nil
	}
}
