package pods

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/kubernetes/pkg/probe"
	httpprobe "k8s.io/kubernetes/pkg/probe/http"
	tcpprobe "k8s.io/kubernetes/pkg/probe/tcp"
)

// earlyPeriod is how often a probe is asked before its first success. Kubelet
// keeps to periodSeconds there, which makes every rollout of a rehearsal wait
// for nothing. Early failures count only once a period, the first after one
// period: no process answers in the instant that it is started.
const earlyPeriod = 250 * time.Millisecond

// prober asks one probe of one run of a container, until its context ends.
type prober struct {
	probe *corev1.Probe
	check func(ctx context.Context) (ok bool, output string)
	// result is told each time a threshold is reached.
	result func(ok bool)
	// failed is told each counted failure.
	failed func(output string)
}

func (p prober) run(ctx context.Context) {
	if !sleep(ctx, time.Duration(p.probe.InitialDelaySeconds)*time.Second) {
		return
	}
	period := time.Duration(max(1, p.probe.PeriodSeconds)) * time.Second
	threshold := Threshold{Success: p.probe.SuccessThreshold, Failure: p.probe.FailureThreshold}
	early := p.probe.SuccessThreshold <= 1
	due := time.Now().Add(period) // when an early failure counts
	for {
		ok, output := p.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		if ok {
			early = false
		}
		if !early || !now.Before(due) {
			due = now.Add(period)
			if !ok {
				p.failed(output)
			}
			if threshold.Observe(ok) {
				p.result(ok)
			}
		}
		wait := period
		if early {
			wait = min(earlyPeriod, time.Until(due))
		}
		if !sleep(ctx, wait) {
			return
		}
	}
}

func (p prober) ask(ctx context.Context) (bool, string) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(1, p.probe.TimeoutSeconds))*time.Second)
	defer cancel()
	return p.check(ctx)
}

// sleep waits and says whether ctx still holds afterwards.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(0, d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// checkHTTP asks once; 200 to 399 is a success, as for kubelet. Certificates
// are not verified: a probe knows no authority.
func checkHTTP(ctx context.Context, action *corev1.HTTPGetAction, container *corev1.Container, ip string) (bool, string) {
	request, err := httpprobe.NewRequestForHTTPGetAction(action, container, ip, "probe")
	if err != nil {
		return false, err.Error()
	}
	deadline, _ := ctx.Deadline()
	prober := httpprobe.NewWithTLSConfig(&tls.Config{InsecureSkipVerify: true}, false) //nolint:gosec // see above
	result, output, err := prober.Probe(request.WithContext(ctx), time.Until(deadline))
	return verdict(result, output, err)
}

func checkTCP(ctx context.Context, action *corev1.TCPSocketAction, container *corev1.Container, ip string) (bool, string) {
	port, err := portNumber(action.Port, container)
	if err != nil {
		return false, err.Error()
	}
	host := action.Host
	if host == "" {
		host = ip
	}
	deadline, _ := ctx.Deadline()
	result, output, err := tcpprobe.New().Probe(host, port, time.Until(deadline))
	return verdict(result, output, err)
}

func verdict(result probe.Result, output string, err error) (bool, string) {
	if err != nil {
		return false, err.Error()
	}
	return result == probe.Success || result == probe.Warning, output
}

// hookHTTP is a lifecycle hook's request; any answer will do.
func hookHTTP(ctx context.Context, action *corev1.HTTPGetAction, container *corev1.Container, ip string) error {
	request, err := httpprobe.NewRequestForHTTPGetAction(action, container, ip, "lifecycle")
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request.WithContext(ctx))
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// portNumber finds a port given by number or by the name of a container port.
func portNumber(port intstr.IntOrString, container *corev1.Container) (int, error) {
	if port.Type == intstr.Int {
		return port.IntValue(), nil
	}
	for _, p := range container.Ports {
		if p.Name == port.StrVal {
			return int(p.ContainerPort), nil
		}
	}
	if n, err := strconv.Atoi(port.StrVal); err == nil {
		return n, nil
	}
	return 0, fmt.Errorf("container %s has no port named %q", container.Name, port.StrVal)
}
