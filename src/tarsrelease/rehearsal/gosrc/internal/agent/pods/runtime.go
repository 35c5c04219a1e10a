// Package pods is the heart of the node agent: it runs the containers of each
// pod bound to the node as local processes, with probes, restarts and graceful
// ends as kubelet does, and reports their status.
package pods

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	"tarsrelease/rehearsal/internal/agent/images"
	"tarsrelease/rehearsal/internal/agent/network"
)

// Runtime is what all pods of the node share.
type Runtime struct {
	NodeAddress string
	RunDir      string            // scratch folders of the pods
	LogDir      string            // logs of the containers; they outlive their pods
	RestartBase time.Duration     // first wait before a restart or another look for an image
	BaseEnv     map[string]string // what every process gets: PATH

	Client kubernetes.Interface
	Images *images.File
	Pool   *network.Pool
	Events record.EventRecorder
	Writer *Writer
}

// podDir is removed with the pod.
func (r *Runtime) podDir(pod *corev1.Pod) string {
	return filepath.Join(r.RunDir, "pods", string(pod.UID))
}

// workDir is POD_DIR and the working directory of every container.
func (r *Runtime) workDir(pod *corev1.Pod) string { return filepath.Join(r.podDir(pod), "work") }

func (r *Runtime) volumeDir(pod *corev1.Pod, volume string) string {
	return filepath.Join(r.podDir(pod), "volumes", volume)
}

func (r *Runtime) pidFile(pod *corev1.Pod, container string) string {
	return filepath.Join(r.podDir(pod), "pids", container)
}

// LogPath is the log of one run of a container; runs count from 0.
func (r *Runtime) LogPath(pod *corev1.Pod, container string, run int32) string {
	folder := fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, pod.UID)
	return filepath.Join(r.LogDir, folder, container, strconv.Itoa(int(run))+".log")
}

// event tells about one container of a pod, or about the pod for "".
func (r *Runtime) event(pod *corev1.Pod, container, kind, reason, format string, args ...any) {
	ref := &corev1.ObjectReference{
		Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name,
		UID: pod.UID, ResourceVersion: pod.ResourceVersion,
	}
	if container != "" {
		ref.FieldPath = "spec.containers{" + container + "}"
	}
	r.Events.Eventf(ref, kind, reason, format, args...)
}

// objects reads ConfigMaps and Secrets straight from the API, as they are when
// a container starts. While the API server is away it answers with what it
// read last: a restart must not depend on it.
type objects struct {
	client    kubernetes.Interface
	namespace string
	known     map[string]map[string]string
}

func newObjects(client kubernetes.Interface, namespace string) *objects {
	return &objects{client: client, namespace: namespace, known: map[string]map[string]string{}}
}

func (o *objects) ConfigMap(name string) (map[string]string, error) {
	return o.read("configmap/"+name, func(ctx context.Context) (map[string]string, map[string][]byte, error) {
		found, err := o.client.CoreV1().ConfigMaps(o.namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, nil, err
		}
		return found.Data, found.BinaryData, nil
	})
}

func (o *objects) Secret(name string) (map[string]string, error) {
	return o.read("secret/"+name, func(ctx context.Context) (map[string]string, map[string][]byte, error) {
		found, err := o.client.CoreV1().Secrets(o.namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, nil, err
		}
		return nil, found.Data, nil
	})
}

func (o *objects) read(key string, get func(context.Context) (map[string]string, map[string][]byte, error)) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	text, binary, err := get(ctx)
	if apierrors.IsNotFound(err) {
		delete(o.known, key)
		return nil, ErrNoObject
	}
	if err != nil {
		if last, ok := o.known[key]; ok {
			return last, nil
		}
		return nil, err
	}
	values := make(map[string]string, len(text)+len(binary))
	maps.Copy(values, text)
	for name, value := range binary {
		values[name] = string(value)
	}
	o.known[key] = values
	return values, nil
}

// credential is the user a container asks for; nil keeps the agent's. Only
// root can change it.
func credential(pod *corev1.Pod, container *corev1.Container) *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	var user, group *int64
	if s := pod.Spec.SecurityContext; s != nil {
		user, group = s.RunAsUser, s.RunAsGroup
	}
	if s := container.SecurityContext; s != nil {
		if s.RunAsUser != nil {
			user = s.RunAsUser
		}
		if s.RunAsGroup != nil {
			group = s.RunAsGroup
		}
	}
	if user == nil {
		return nil
	}
	if group == nil {
		group = user
	}
	return &syscall.Credential{Uid: uint32(*user), Gid: uint32(*group), NoSetGroups: true}
}
