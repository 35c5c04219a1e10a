package pods

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// stored is a Source over fixed objects.
type stored struct{ configMaps, secrets map[string]map[string]string }

func (s stored) ConfigMap(name string) (map[string]string, error) { return get(s.configMaps, name) }
func (s stored) Secret(name string) (map[string]string, error)    { return get(s.secrets, name) }

func get(all map[string]map[string]string, name string) (map[string]string, error) {
	if values, ok := all[name]; ok {
		return values, nil
	}
	return nil, ErrNoObject
}

func named(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }

func TestEnvironment(t *testing.T) {
	yes := true
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", Labels: map[string]string{"version": "1.0.1"}},
		Spec:       corev1.PodSpec{NodeName: "node"},
	}
	container := &corev1.Container{
		Name: "c",
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{
			corev1.ResourceMemory: resource.MustParse("64Mi"),
		}},
		EnvFrom: []corev1.EnvFromSource{
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("conf")}},
			{Prefix: "S_", SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("pass")}},
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("absent"), Optional: &yes}},
		},
		Env: []corev1.EnvVar{
			{Name: "A", Value: "own"},
			{Name: "URL", Value: "$(S_user)@$(A)/$$(A)/$(NOBODY)"},
			{Name: "WHERE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
			{Name: "LABEL", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['version']"}}},
			{Name: "MEMORY", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory"}}},
			{Name: "KEY", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("conf"), Key: "B"}}},
			{Name: "NONE", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named("pass"), Key: "no", Optional: &yes}}},
		},
	}
	pod.Spec.Containers = []corev1.Container{*container}
	source := stored{
		configMaps: map[string]map[string]string{"conf": {"A": "conf", "B": "b", "not a name": "x"}},
		secrets:    map[string]map[string]string{"pass": {"user": "tars"}},
	}
	facts := Facts{PodIP: "10.42.1.1", HostIP: "10.42.0.1", PodDir: "/pod", Volumes: map[string]string{"my-data": "/data"}}
	got, err := Environment(map[string]string{"PATH": "/bin", "X": "base"}, map[string]string{"X": "image"}, pod, container, source, facts)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"PATH": "/bin", "X": "image", "A": "own", "B": "b", "S_user": "tars",
		"URL": "tars@own/$(A)/$(NOBODY)", "WHERE": "10.42.1.1", "LABEL": "1.0.1", "MEMORY": "67108864", "KEY": "b",
		"POD_IP": "10.42.1.1", "POD_DIR": "/pod", "POD_NAME": "p", "POD_NAMESPACE": "ns", "VOLUME_MY_DATA": "/data",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestMissingObjectsAreNamed(t *testing.T) {
	source := stored{configMaps: map[string]map[string]string{"conf": {}}}
	pod := &corev1.Pod{}
	for want, container := range map[string]*corev1.Container{
		`configmap "absent"`: {EnvFrom: []corev1.EnvFromSource{
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("absent")}}}},
		`key K in configmap "conf"`: {Env: []corev1.EnvVar{{Name: "V", ValueFrom: &corev1.EnvVarSource{
			ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("conf"), Key: "K"}}}}},
		`secret "gone"`: {Env: []corev1.EnvVar{{Name: "V", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named("gone"), Key: "K"}}}}},
	} {
		_, err := Environment(map[string]string{}, nil, pod, container, source, Facts{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want it to name %s", err, want)
		}
	}
	_, err := source.Secret("gone")
	if !errors.Is(err, ErrNoObject) {
		t.Error(err)
	}
}
