package pods

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"

	"tarsrelease/rehearsal/internal/agent/images"
	"tarsrelease/rehearsal/internal/agent/network"
)

// start runs a manager on client-go's in-memory API, whose images are shells.
func start(t *testing.T, client kubernetes.Interface, dir string) *Manager {
	t.Helper()
	list, err := json.Marshal(map[string]any{"images": []images.Entry{
		{Name: "sh", Tag: "1", Digest: "sha256:aa", Command: []string{"/bin/sh"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "images.json")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	pool, err := network.NewPool("10.42.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	writer := NewWriter(client)
	manager := NewManager(&Runtime{
		NodeAddress: "10.42.0.1", RunDir: filepath.Join(dir, "run"), LogDir: filepath.Join(dir, "logs"),
		RestartBase: 50 * time.Millisecond, BaseEnv: map[string]string{"PATH": os.Getenv("PATH")},
		Client: client, Images: images.Open(file), Pool: pool, Events: &record.FakeRecorder{}, Writer: writer,
	})
	ctx, cancel := context.WithCancel(context.Background())
	go writer.Run(ctx)
	informer := informers.NewSharedInformerFactory(client, 0).Core().V1().Pods().Informer()
	if _, err := informer.AddEventHandler(manager); err != nil {
		t.Fatal(err)
	}
	go informer.RunWithContext(ctx)
	t.Cleanup(func() { manager.Shutdown(10 * time.Second); cancel() })
	return manager
}

// shell is a pod of one container that runs a script.
func shell(name, script string, policy corev1.RestartPolicy) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name)},
		Spec: corev1.PodSpec{
			NodeName: "node", RestartPolicy: policy,
			Containers: []corev1.Container{{Name: "c", Image: "sh:1", Args: []string{"-c", script}}},
		},
	}
}

func create(t *testing.T, client kubernetes.Interface, pod *corev1.Pod) {
	t.Helper()
	if _, err := client.CoreV1().Pods(pod.Namespace).Create(context.Background(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// until waits for a condition on what the API shows of the pod.
func until(t *testing.T, client kubernetes.Interface, name, what string, holds func(corev1.PodStatus) bool) corev1.PodStatus {
	t.Helper()
	var status corev1.PodStatus
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		pod, err := client.CoreV1().Pods("ns").Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if status = pod.Status; holds(status) {
			return status
		}
	}
	t.Fatalf("never %s; the last status was %+v", what, status)
	return status
}

func first(status corev1.PodStatus) corev1.ContainerStatus {
	if len(status.ContainerStatuses) == 0 {
		return corev1.ContainerStatus{}
	}
	return status.ContainerStatuses[0]
}

func TestPodBecomesReadyAndEndsGracefully(t *testing.T) {
	client, dir := fake.NewClientset(), t.TempDir()
	manager := start(t, client, dir)
	pod := shell("web", `trap 'rm -f ready; exit 0' TERM; sleep 0.3; touch ready; while :; do sleep 0.05; done`, corev1.RestartPolicyAlways)
	pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"test", "-e", "ready"}}},
		PeriodSeconds: 1,
	}
	create(t, client, pod)
	status := until(t, client, "web", "running but not ready", func(s corev1.PodStatus) bool { return s.Phase == corev1.PodRunning })
	if isReady(status) || status.PodIP != "10.42.1.0" {
		t.Errorf("at the start: ready %v, address %s", isReady(status), status.PodIP)
	}
	until(t, client, "web", "ready", isReady)
	snapshot, _ := manager.Find("ns", "web")
	scratch := snapshot.Dir

	// The in-memory API knows no graceful deletion; this is what the real one
	// writes before it waits for the node.
	deleted, err := client.CoreV1().Pods("ns").Get(context.Background(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	now, grace := metav1.Now(), int64(5)
	deleted.DeletionTimestamp, deleted.DeletionGracePeriodSeconds = &now, &grace
	if _, err := client.CoreV1().Pods("ns").Update(context.Background(), deleted, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := client.CoreV1().Pods("ns").Get(context.Background(), "web", metav1.GetOptions{})
		if _, statErr := os.Stat(scratch); apierrors.IsNotFound(err) && os.IsNotExist(statErr) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the pod or its folder stayed: %v", err)
		}
	}
}

func TestCrashLoopBacksOff(t *testing.T) {
	client := fake.NewClientset()
	start(t, client, t.TempDir())
	create(t, client, shell("crash", `exit 7`, corev1.RestartPolicyAlways))
	status := until(t, client, "crash", "in its third back-off", func(s corev1.PodStatus) bool {
		c := first(s)
		return c.RestartCount >= 3 && c.State.Waiting != nil
	})
	c := first(status)
	if c.State.Waiting.Reason != "CrashLoopBackOff" || c.LastTerminationState.Terminated.ExitCode != 7 || status.Phase != corev1.PodRunning {
		t.Errorf("status %+v", status)
	}
}

func TestJobsPodsEnd(t *testing.T) {
	for script, phase := range map[string]corev1.PodPhase{`exit 0`: corev1.PodSucceeded, `exit 1`: corev1.PodFailed} {
		client := fake.NewClientset()
		start(t, client, t.TempDir())
		create(t, client, shell("job", script, corev1.RestartPolicyNever))
		until(t, client, "job", string(phase), func(s corev1.PodStatus) bool { return s.Phase == phase })
	}
}

func TestUnknownImageIsPulledWithBackoff(t *testing.T) {
	client := fake.NewClientset()
	start(t, client, t.TempDir())
	pod := shell("none", ``, corev1.RestartPolicyAlways)
	pod.Spec.Containers[0].Image = "nobody/knows:1"
	create(t, client, pod)
	for _, reason := range []string{"ErrImagePull", "ImagePullBackOff"} {
		status := until(t, client, "none", reason, func(s corev1.PodStatus) bool {
			waiting := first(s).State.Waiting
			return waiting != nil && waiting.Reason == reason
		})
		if status.Phase != corev1.PodPending {
			t.Errorf("phase %s", status.Phase)
		}
	}
}

func TestInitContainersComeFirst(t *testing.T) {
	client := fake.NewClientset()
	start(t, client, t.TempDir())
	pod := shell("init", `test "$(cat order)" = 12 && exit 0`, corev1.RestartPolicyNever)
	pod.Spec.InitContainers = []corev1.Container{
		{Name: "one", Image: "sh:1", Args: []string{"-c", `sleep 0.2; printf 1 >> order`}},
		{Name: "two", Image: "sh:1", Args: []string{"-c", `printf 2 >> order`}},
	}
	create(t, client, pod)
	until(t, client, "init", "succeeded", func(s corev1.PodStatus) bool { return s.Phase == corev1.PodSucceeded })
}

func TestLivenessRestartsAndMemoryKills(t *testing.T) {
	client := fake.NewClientset()
	manager := start(t, client, t.TempDir())
	pod := shell("sick", `while :; do sleep 0.05; done`, corev1.RestartPolicyAlways)
	grace := int64(1)
	pod.Spec.TerminationGracePeriodSeconds = &grace
	pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}
	pod.Spec.Containers[0].LivenessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "! test -e dead"}}},
		PeriodSeconds: 1, FailureThreshold: 1,
	}
	create(t, client, pod)
	until(t, client, "sick", "ready", isReady)
	snapshot, _ := manager.Find("ns", "sick")
	dead := filepath.Join(snapshot.Dir, "dead")
	if err := os.WriteFile(dead, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, client, "sick", "restarted by its probe", func(s corev1.PodStatus) bool { return first(s).RestartCount == 1 })
	if err := os.Remove(dead); err != nil {
		t.Fatal(err)
	}
	snapshot, _ = manager.Find("ns", "sick")
	c, _ := snapshot.Container("c")
	if c.MemoryLimit != 1<<30 {
		t.Errorf("memory limit %d", c.MemoryLimit)
	}
	manager.KillForMemory(pod.UID, "c", c.PID+1) // another process' number: nothing happens
	manager.KillForMemory(pod.UID, "c", c.PID)
	until(t, client, "sick", "killed for its memory", func(s corev1.PodStatus) bool {
		last := first(s).LastTerminationState.Terminated
		return first(s).RestartCount == 2 && last != nil && last.Reason == "OOMKilled" && last.ExitCode == 137
	})
}

func TestNextLifeStartsPodsAgain(t *testing.T) {
	client, dir := fake.NewClientset(), t.TempDir()
	before := start(t, client, dir)
	create(t, client, shell("kept", `while :; do sleep 0.05; done`, corev1.RestartPolicyAlways))
	old := until(t, client, "kept", "ready", isReady)
	before.Shutdown(10 * time.Second)
	start(t, client, dir)
	status := until(t, client, "kept", "running again", func(s corev1.PodStatus) bool {
		return first(s).RestartCount == 1 && isReady(s)
	})
	if status.PodIP != old.PodIP {
		t.Errorf("address %s, it was %s", status.PodIP, old.PodIP)
	}
	if last := first(status).LastTerminationState.Terminated; last == nil || !strings.Contains(last.Message, "restarted") {
		t.Errorf("last state %+v", last)
	}
}
