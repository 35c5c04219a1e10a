package pods

import (
	"encoding/json"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func running(ready bool) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: "c", Ready: ready, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
}

func exited(code int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: "c", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
}

func waiting(reason string, lastCode *int32) corev1.ContainerStatus {
	status := corev1.ContainerStatus{Name: "c", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}
	if lastCode != nil {
		status.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: *lastCode}
	}
	return status
}

func policy(p corev1.RestartPolicy) *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{
		RestartPolicy: p, Containers: []corev1.Container{{Name: "c"}}, InitContainers: []corev1.Container{{Name: "c"}},
	}}
}

func TestPhase(t *testing.T) {
	one := int32(1)
	type statuses = []corev1.ContainerStatus
	always, onFailure, never := policy(corev1.RestartPolicyAlways), policy(corev1.RestartPolicyOnFailure), policy(corev1.RestartPolicyNever)
	cases := []struct {
		name string
		view View
		want corev1.PodPhase
	}{
		{"not started", View{Pod: always, Main: statuses{waiting("ContainerCreating", nil)}}, corev1.PodPending},
		{"no image", View{Pod: always, Main: statuses{running(true), waiting("ErrImagePull", nil)}}, corev1.PodPending},
		{"running", View{Pod: always, Main: statuses{running(false)}}, corev1.PodRunning},
		{"crash loop", View{Pod: always, Main: statuses{waiting("CrashLoopBackOff", &one)}}, corev1.PodRunning},
		{"job done", View{Pod: never, Main: statuses{exited(0)}}, corev1.PodSucceeded},
		{"job failed", View{Pod: never, Main: statuses{exited(0), exited(1)}}, corev1.PodFailed},
		{"job tries again", View{Pod: onFailure, Main: statuses{exited(1)}}, corev1.PodRunning},
		{"job done at last", View{Pod: onFailure, Main: statuses{exited(0)}}, corev1.PodSucceeded},
		{"init runs", View{Pod: never, Init: statuses{running(false)}, Main: statuses{waiting("PodInitializing", nil)}}, corev1.PodPending},
		{"init failed", View{Pod: never, Init: statuses{exited(1)}, Main: statuses{waiting("PodInitializing", nil)}}, corev1.PodFailed},
		{"init tries again", View{Pod: onFailure, Init: statuses{exited(1)}, Main: statuses{waiting("PodInitializing", nil)}}, corev1.PodPending},
		{"deleted, ended well", View{Pod: always, Finished: true, Main: statuses{exited(0)}}, corev1.PodSucceeded},
		{"deleted, killed", View{Pod: always, Finished: true, Main: statuses{exited(137)}}, corev1.PodFailed},
		{"deleted before it ran", View{Pod: always, Finished: true, Main: statuses{waiting("ContainerCreating", nil)}}, corev1.PodFailed},
	}
	for _, c := range cases {
		if got := phase(c.view); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func condition(t *testing.T, status corev1.PodStatus, kind corev1.PodConditionType) corev1.PodCondition {
	t.Helper()
	for _, c := range status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	t.Fatalf("no condition %s", kind)
	return corev1.PodCondition{}
}

func TestReadyCondition(t *testing.T) {
	gated := &corev1.Pod{Spec: corev1.PodSpec{ReadinessGates: []corev1.PodReadinessGate{{ConditionType: "example/gate"}}}}
	open := gated.DeepCopy()
	open.Status.Conditions = []corev1.PodCondition{{Type: "example/gate", Status: corev1.ConditionTrue}}
	type statuses = []corev1.ContainerStatus
	plain := &corev1.Pod{}
	cases := []struct {
		name string
		view View
		want bool
	}{
		{"all ready", View{Pod: plain, Main: statuses{running(true)}}, true},
		{"one is not", View{Pod: plain, Main: statuses{running(true), running(false)}}, false},
		{"terminating", View{Pod: plain, Terminating: true, Main: statuses{running(true)}}, false},
		{"gate closed", View{Pod: gated, Main: statuses{running(true)}}, false},
		{"gate open", View{Pod: open, Main: statuses{running(true)}}, true},
	}
	for _, c := range cases {
		if got := isReady(Status(c.view, corev1.PodStatus{}, metav1.Now())); got != c.want {
			t.Errorf("%s: ready %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTransitionTimesStayUntilTheConditionChanges(t *testing.T) {
	then, now := stamp(time.Unix(1000, 0)), stamp(time.Unix(2000, 0))
	first := Status(View{Pod: &corev1.Pod{}, Main: []corev1.ContainerStatus{running(false)}}, corev1.PodStatus{}, then)
	same := Status(View{Pod: &corev1.Pod{}, Main: []corev1.ContainerStatus{running(false)}}, first, now)
	if !sameStatus(first, same) {
		t.Error("an unchanged pod has a changed status: it would be reported for ever")
	}
	changed := Status(View{Pod: &corev1.Pod{}, Main: []corev1.ContainerStatus{running(true)}}, first, now)
	if at := condition(t, changed, corev1.PodReady).LastTransitionTime; !at.Equal(&now) {
		t.Errorf("ready since %s", at)
	}
	if at := condition(t, changed, corev1.PodScheduled).LastTransitionTime; !at.Equal(&then) {
		t.Errorf("scheduled since %s", at)
	}
}

func TestPatchTakesAnOldReasonAway(t *testing.T) {
	body, err := statusPatch("uid", corev1.PodStatus{Phase: corev1.PodRunning})
	if err != nil {
		t.Fatal(err)
	}
	var parsed struct {
		Metadata map[string]any
		Status   map[string]any
	}
	if err := json.Unmarshal(body, &parsed); err != nil {
		t.Fatal(err)
	}
	reason, present := parsed.Status["reason"]
	if parsed.Metadata["uid"] != "uid" || parsed.Status["phase"] != "Running" || !present || reason != nil {
		t.Errorf("patch %s", body)
	}
}

func TestRestoreCountsALostRunAsAnEnd(t *testing.T) {
	now := time.Unix(2000, 0)
	lost := &container{spec: corev1.Container{Name: "c"}}
	status := running(true)
	status.RestartCount = 3
	lost.restore(status, now)
	if lost.ended == nil || lost.ended.ExitCode != 137 || lost.run != 3 || !lost.again(corev1.RestartPolicyAlways) {
		t.Errorf("a run lost with the agent: %+v", lost.ended)
	}
	done := &container{spec: corev1.Container{Name: "c"}}
	done.restore(exited(0), now)
	if done.again(corev1.RestartPolicyOnFailure) || !done.succeeded() {
		t.Error("a run that had ended well would be run again")
	}
}
