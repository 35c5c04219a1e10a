// Package node keeps the Node object and its Lease: it registers the machine
// as a node and shows that it is alive.
package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"tarsrelease/rehearsal/internal/agent/usage"
)

const (
	renewEvery = 10 * time.Second // kubelet's; the controllers give up after 40 s
	retryEvery = time.Second
	// statusEvery is how often the whole status is written, should somebody
	// have changed it.
	statusEvery   = time.Minute
	leaseDuration = int32(40)
	leaseSpace    = "kube-node-lease"
	// maxPods is far above what a machine runs; the real limit is its memory.
	maxPods = 1000
)

// Node is the node to keep.
type Node struct {
	Client  kubernetes.Interface
	Name    string
	Address string // the pods' host IP
	Listen  string // host:port of the kubelet endpoint
	Disk    string // a path on the file system that pods write to
}

// Register creates the Node or takes over an existing one, and makes it Ready.
// It tries until it succeeds or ctx is done.
func (n Node) Register(ctx context.Context) error {
	for {
		err := n.once(ctx)
		if err == nil {
			return nil
		}
		slog.Warn("registering the node failed; trying again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryEvery):
		}
	}
}

// Run renews the Lease and the status until ctx is done.
func (n Node) Run(ctx context.Context) {
	written := time.Now()
	for {
		wait := renewEvery
		err := n.renew(ctx)
		if err == nil && time.Since(written) >= statusEvery {
			if err = n.once(ctx); err == nil {
				written = time.Now()
			}
		}
		if err != nil && ctx.Err() == nil {
			slog.Warn("the node could not show that it is alive; trying again", "error", err)
			wait = retryEvery
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (n Node) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewEvery)
	defer cancel()
	labels := map[string]string{
		corev1.LabelHostname: n.Name, corev1.LabelOSStable: runtime.GOOS, corev1.LabelArchStable: runtime.GOARCH,
	}
	present, err := n.Client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		present, err = n.Client.CoreV1().Nodes().Create(ctx,
			&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: labels}}, metav1.CreateOptions{})
	}
	if err != nil {
		return err
	}
	status, err := n.status(time.Now(), present.Status.Conditions)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = n.Client.CoreV1().Nodes().Patch(ctx, n.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
	return err
}

// renew writes the time into the Lease, creating it if need be.
func (n Node) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewEvery)
	defer cancel()
	now, duration, leases := metav1.NowMicro(), leaseDuration, n.Client.CoordinationV1().Leases(leaseSpace)
	body, err := json.Marshal(map[string]any{"spec": coordinationv1.LeaseSpec{RenewTime: &now}})
	if err != nil {
		return err
	}
	_, err = leases.Patch(ctx, n.Name, types.MergePatchType, body, metav1.PatchOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	_, err = leases.Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, Namespace: leaseSpace},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &n.Name, LeaseDurationSeconds: &duration, RenewTime: &now},
	}, metav1.CreateOptions{})
	return err
}

func (n Node) status(now time.Time, before []corev1.NodeCondition) (corev1.NodeStatus, error) {
	memory, err := usage.Memory()
	if err != nil {
		return corev1.NodeStatus{}, err
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(n.Disk, &disk); err != nil {
		return corev1.NodeStatus{}, fmt.Errorf("size of the file system at %s: %w", n.Disk, err)
	}
	_, portText, err := net.SplitHostPort(n.Listen)
	if err != nil {
		return corev1.NodeStatus{}, err
	}
	port, err := strconv.ParseInt(portText, 10, 32)
	if err != nil {
		return corev1.NodeStatus{}, err
	}
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(memory.Total, resource.BinarySI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(int64(disk.Blocks)*disk.Bsize, resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(maxPods, resource.DecimalSI),
	}
	return corev1.NodeStatus{
		Capacity: capacity, Allocatable: maps.Clone(capacity),
		Conditions: conditions(now, before),
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: n.Address}, {Type: corev1.NodeHostName, Address: n.Name},
		},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(port)}},
		NodeInfo: corev1.NodeSystemInfo{
			MachineID: n.Name, SystemUUID: n.Name, BootID: n.Name,
			OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH, OSImage: "tarsrelease rehearsal",
			KernelVersion: kernel(), ContainerRuntimeVersion: "process://1", KubeletVersion: kubernetesVersion(),
		},
	}, nil
}

func conditions(now time.Time, before []corev1.NodeCondition) []corev1.NodeCondition {
	list := []corev1.NodeCondition{
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "AgentReady", Message: "the node agent runs pods as processes"},
		{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse, Reason: "NotMeasured"},
		{Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse, Reason: "NotMeasured"},
		{Type: corev1.NodePIDPressure, Status: corev1.ConditionFalse, Reason: "NotMeasured"},
	}
	for i := range list {
		list[i].LastHeartbeatTime, list[i].LastTransitionTime = metav1.NewTime(now), metav1.NewTime(now)
		for _, old := range before {
			if old.Type == list[i].Type && old.Status == list[i].Status {
				list[i].LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	return list
}

func kernel() string {
	var name syscall.Utsname
	if err := syscall.Uname(&name); err != nil {
		return "unknown"
	}
	var text strings.Builder
	for _, c := range name.Release {
		if c == 0 {
			break
		}
		text.WriteByte(byte(c))
	}
	return text.String()
}

// kubernetesVersion is that of the libraries built in: client-go v0.X.Y belongs
// to Kubernetes v1.X.Y.
func kubernetesVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path != "k8s.io/client-go" {
				continue
			}
			version := module.Version
			if module.Replace != nil {
				version = module.Replace.Version
			}
			if rest, ok := strings.CutPrefix(version, "v0."); ok {
				return "v1." + rest
			}
		}
	}
	return "v0.0.0"
}
