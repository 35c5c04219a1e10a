package pods

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// View is everything a pod's status is computed from.
type View struct {
	Pod         *corev1.Pod
	HostIP, IP  string
	StartTime   metav1.Time
	Init, Main  []corev1.ContainerStatus // in the order of the spec
	Terminating bool                     // deletion has begun: not ready whatever the probes say
	Finished    bool                     // deletion has begun and nothing runs any more
	// Reason and Message explain a pod that the agent failed as a whole.
	Reason, Message string
}

// Status computes a pod's status. previous gives the transition times of
// conditions that have not changed.
func Status(v View, previous corev1.PodStatus, now metav1.Time) corev1.PodStatus {
	status := corev1.PodStatus{
		ObservedGeneration:    v.Pod.Generation,
		Phase:                 phase(v),
		Reason:                v.Reason,
		Message:               v.Message,
		HostIP:                v.HostIP,
		StartTime:             &v.StartTime,
		InitContainerStatuses: v.Init,
		ContainerStatuses:     v.Main,
		QOSClass:              previous.QOSClass,
	}
	if v.HostIP != "" {
		status.HostIPs = []corev1.HostIP{{IP: v.HostIP}}
	}
	if v.IP != "" {
		status.PodIP, status.PodIPs = v.IP, []corev1.PodIP{{IP: v.IP}}
	}
	for _, condition := range conditions(v, status.Phase, previous) {
		condition.ObservedGeneration = v.Pod.Generation
		condition.LastTransitionTime = now
		for _, old := range previous.Conditions {
			if old.Type == condition.Type && old.Status == condition.Status {
				condition.LastTransitionTime = old.LastTransitionTime
			}
		}
		status.Conditions = append(status.Conditions, condition)
	}
	return status
}

// phase follows kubelet's rules.
func phase(v View) corev1.PodPhase {
	if v.Reason != "" {
		return corev1.PodFailed
	}
	policy := v.Pod.Spec.RestartPolicy
	if !v.Finished && !initialized(v) {
		for _, status := range v.Init {
			if failed(status) && policy == corev1.RestartPolicyNever && !restartable(v.Pod, status.Name) {
				return corev1.PodFailed
			}
		}
		return corev1.PodPending
	}
	var running, succeeded, broken, neverRan int
	for _, status := range v.Main {
		switch {
		case status.State.Running != nil:
			running++
		case status.State.Terminated != nil && status.State.Terminated.ExitCode == 0:
			succeeded++
		case status.State.Terminated != nil, status.LastTerminationState.Terminated != nil:
			broken++
		default:
			neverRan++
		}
	}
	switch {
	case v.Finished && broken+neverRan == 0:
		return corev1.PodSucceeded
	case v.Finished:
		return corev1.PodFailed
	case neverRan > 0:
		return corev1.PodPending
	case running > 0 || policy == corev1.RestartPolicyAlways:
		return corev1.PodRunning
	case broken == 0:
		return corev1.PodSucceeded
	case policy == corev1.RestartPolicyNever:
		return corev1.PodFailed
	default:
		return corev1.PodRunning
	}
}

func failed(status corev1.ContainerStatus) bool {
	return status.State.Terminated != nil && status.State.Terminated.ExitCode != 0
}

// restartable says whether a name is an init container that stays (a sidecar).
func restartable(pod *corev1.Pod, name string) bool {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return isSidecar(&pod.Spec.InitContainers[i])
		}
	}
	return false
}

func isSidecar(container *corev1.Container) bool {
	return container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// initialized says whether every init container has done its part.
func initialized(v View) bool {
	for _, status := range v.Init {
		if restartable(v.Pod, status.Name) {
			if status.Started == nil || !*status.Started {
				return false
			}
		} else if status.State.Terminated == nil || status.State.Terminated.ExitCode != 0 {
			return false
		}
	}
	return true
}

func conditions(v View, phase corev1.PodPhase, previous corev1.PodStatus) []corev1.PodCondition {
	over := phase == corev1.PodSucceeded || phase == corev1.PodFailed
	var notReady []string
	for _, status := range v.Main {
		if !status.Ready || v.Terminating {
			notReady = append(notReady, status.Name)
		}
	}
	containers := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}
	switch {
	case over:
		containers.Status, containers.Reason = corev1.ConditionFalse, "PodCompleted"
		if phase == corev1.PodFailed {
			containers.Reason = "PodFailed"
		}
	case len(notReady) > 0:
		containers.Status, containers.Reason = corev1.ConditionFalse, "ContainersNotReady"
		containers.Message = fmt.Sprintf("containers with unready status: [%s]", strings.Join(notReady, " "))
	}
	ready := containers
	ready.Type = corev1.PodReady
	if ready.Status == corev1.ConditionTrue {
		if missing := closedGates(v.Pod, previous); len(missing) > 0 {
			ready.Status, ready.Reason = corev1.ConditionFalse, "ReadinessGatesNotReady"
			ready.Message = "conditions not true: " + strings.Join(missing, ", ")
		}
	}
	initial := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if !initialized(v) {
		initial.Status, initial.Reason = corev1.ConditionFalse, "ContainersNotInitialized"
	}
	return []corev1.PodCondition{
		{Type: corev1.PodReadyToStartContainers, Status: truth(v.IP != "" && !v.Finished)},
		initial, ready, containers,
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
	}
}

// closedGates lists the readiness gates whose condition nobody has set to true.
func closedGates(pod *corev1.Pod, previous corev1.PodStatus) []string {
	var closed []string
	for _, gate := range pod.Spec.ReadinessGates {
		open := false
		for _, status := range [][]corev1.PodCondition{pod.Status.Conditions, previous.Conditions} {
			for _, condition := range status {
				open = open || condition.Type == gate.ConditionType && condition.Status == corev1.ConditionTrue
			}
		}
		if !open {
			closed = append(closed, string(gate.ConditionType))
		}
	}
	return closed
}

func truth(value bool) corev1.ConditionStatus {
	if value {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}

// sameStatus compares what the agent reports, not what others added.
func sameStatus(a, b corev1.PodStatus) bool { return equality.Semantic.DeepEqual(a, b) }

// stamp is now in the precision that the API keeps: whole seconds.
func stamp(t time.Time) metav1.Time { return metav1.NewTime(t).Rfc3339Copy() }

func isReady(status corev1.PodStatus) bool {
	for _, condition := range status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
