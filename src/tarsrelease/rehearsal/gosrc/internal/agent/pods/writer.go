package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"
)

// requestTimeout bounds one call, so that a hung API server is tried again.
const requestTimeout = 10 * time.Second

// Writer reports pod statuses to the API server. It keeps only the newest
// status of each pod and tries again until it is accepted or the pod is gone;
// the pods themselves never wait for it.
type Writer struct {
	client kubernetes.Interface
	queue  workqueue.TypedRateLimitingInterface[types.UID]

	mu   sync.Mutex
	pods map[types.UID]*report
}

type report struct {
	namespace, name string
	uid             types.UID
	want            corev1.PodStatus
	sent            *corev1.PodStatus
	remove          bool
}

// NewWriter makes a writer; Run makes it work.
func NewWriter(client kubernetes.Interface) *Writer {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[types.UID](50*time.Millisecond, 2*time.Second)
	return &Writer{
		client: client,
		queue:  workqueue.NewTypedRateLimitingQueue(limiter),
		pods:   map[types.UID]*report{},
	}
}

// Set replaces the status to report. With remove, the pod is taken from the
// API once the status is accepted.
func (w *Writer) Set(pod *corev1.Pod, status corev1.PodStatus, remove bool) {
	w.mu.Lock()
	r := w.pods[pod.UID]
	if r == nil {
		r = &report{namespace: pod.Namespace, name: pod.Name, uid: pod.UID}
		w.pods[pod.UID] = r
	}
	r.want, r.remove = status, r.remove || remove
	w.mu.Unlock()
	w.queue.Add(pod.UID)
}

// Observed compares what the API holds with what was reported. The node
// lifecycle controller marks pods not ready while it misses the node; nobody
// but the agent puts that right again.
func (w *Writer) Observed(pod *corev1.Pod) {
	w.mu.Lock()
	r := w.pods[pod.UID]
	differs := r != nil && r.sent != nil &&
		(pod.Status.Phase != r.sent.Phase || isReady(pod.Status) != isReady(*r.sent))
	if differs {
		r.sent = nil
	}
	w.mu.Unlock()
	if differs {
		w.queue.Add(pod.UID)
	}
}

// Forget drops a pod that the API no longer has.
func (w *Writer) Forget(uid types.UID) {
	w.mu.Lock()
	delete(w.pods, uid)
	w.mu.Unlock()
	w.queue.Forget(uid)
}

// Run writes with a few workers until ctx is done.
func (w *Writer) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range 4 {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for w.next(ctx) {
			}
		}()
	}
	<-ctx.Done()
	w.queue.ShutDown()
	workers.Wait()
}

func (w *Writer) next(ctx context.Context) bool {
	uid, stop := w.queue.Get()
	if stop {
		return false
	}
	defer w.queue.Done(uid)
	if err := w.write(ctx, uid); err != nil && ctx.Err() == nil {
		slog.Warn("reporting a pod failed; trying again", "error", err)
		w.queue.AddRateLimited(uid)
		return true
	}
	w.queue.Forget(uid)
	return true
}

func (w *Writer) write(ctx context.Context, uid types.UID) error {
	w.mu.Lock()
	r := w.pods[uid]
	if r == nil {
		w.mu.Unlock()
		return nil
	}
	want, remove := r.want, r.remove
	fresh := r.sent == nil || !sameStatus(*r.sent, want)
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if fresh {
		body, err := statusPatch(uid, want)
		if err != nil {
			return err
		}
		_, err = w.client.CoreV1().Pods(r.namespace).Patch(ctx, r.name, types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
		if err != nil {
			return w.unlessGone(ctx, r, fmt.Errorf("status of pod %s/%s: %w", r.namespace, r.name, err))
		}
		w.mu.Lock()
		r.sent = &want
		w.mu.Unlock()
	}
	if remove {
		options := metav1.NewDeleteOptions(0)
		options.Preconditions = metav1.NewUIDPreconditions(string(uid))
		if err := w.client.CoreV1().Pods(r.namespace).Delete(ctx, r.name, *options); err != nil {
			return w.unlessGone(ctx, r, fmt.Errorf("removing pod %s/%s: %w", r.namespace, r.name, err))
		}
	}
	return nil
}

// unlessGone turns an error into success where the pod is no longer there (or
// another has its name): nothing is left to report.
func (w *Writer) unlessGone(ctx context.Context, r *report, failure error) error {
	pod, err := w.client.CoreV1().Pods(r.namespace).Get(ctx, r.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && pod.UID != r.uid {
		w.Forget(r.uid)
		return nil
	}
	return failure
}

// statusPatch is a strategic merge patch of everything the agent reports;
// conditions of others stay, since the list merges by type.
func statusPatch(uid types.UID, status corev1.PodStatus) ([]byte, error) {
	encoded, err := json.Marshal(status)
	if err != nil {
		return nil, err
	}
	fields := map[string]any{}
	if err := json.Unmarshal(encoded, &fields); err != nil {
		return nil, err
	}
	for _, name := range []string{"reason", "message"} {
		if _, set := fields[name]; !set {
			fields[name] = nil // an earlier reason must not stay
		}
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid}, "status": fields})
}
