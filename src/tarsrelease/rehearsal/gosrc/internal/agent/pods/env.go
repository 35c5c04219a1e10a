package pods

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// ErrNoObject is what a Source answers for an object that does not exist.
var ErrNoObject = errors.New("not found")

// Source reads the ConfigMaps and Secrets of a pod's namespace.
type Source interface {
	// ConfigMap gives the keys and values, or ErrNoObject.
	ConfigMap(name string) (map[string]string, error)
	// Secret gives the keys and values, or ErrNoObject.
	Secret(name string) (map[string]string, error)
}

// Facts are the parts of the environment that the agent knows.
type Facts struct {
	PodIP, HostIP, PodDir string
	Volumes               map[string]string // volume name -> folder
}

// variableName is what a key of a ConfigMap must look like to become a
// variable; others are left out, as kubelet does.
var variableName = regexp.MustCompile(`^[-._a-zA-Z][-._a-zA-Z0-9]*$`)

// Environment is what a container's process gets: base, the image's own
// variables, envFrom, env with $(NAME) expanded, then the agent's POD_* and
// VOLUME_*. Later ones win. The error names the missing object or key.
func Environment(base, image map[string]string, pod *corev1.Pod, container *corev1.Container, source Source, facts Facts) (map[string]string, error) {
	result := maps.Clone(base)
	maps.Copy(result, image)
	// References see only what the pod itself defines, earlier in the list.
	defined := map[string]string{}
	for _, from := range container.EnvFrom {
		values, err := wholeObject(from, source)
		if err != nil {
			return nil, err
		}
		for key, value := range values {
			if variableName.MatchString(from.Prefix + key) {
				defined[from.Prefix+key] = value
			}
		}
	}
	for _, variable := range container.Env {
		value, present, err := oneVariable(variable, pod, container, source, facts, defined)
		if err != nil {
			return nil, err
		}
		if present {
			defined[variable.Name] = value
		}
	}
	maps.Copy(result, defined)
	result["POD_IP"], result["POD_DIR"] = facts.PodIP, facts.PodDir
	result["POD_NAME"], result["POD_NAMESPACE"] = pod.Name, pod.Namespace
	for name, dir := range facts.Volumes {
		result[VolumeVariable(name)] = dir
	}
	return result, nil
}

// VolumeVariable is the name under which a volume's folder is given.
func VolumeVariable(volume string) string {
	return "VOLUME_" + strings.ToUpper(strings.ReplaceAll(volume, "-", "_"))
}

func wholeObject(from corev1.EnvFromSource, source Source) (map[string]string, error) {
	switch {
	case from.ConfigMapRef != nil:
		values, err := source.ConfigMap(from.ConfigMapRef.Name)
		return optional(values, err, from.ConfigMapRef.Optional, "configmap", from.ConfigMapRef.Name)
	case from.SecretRef != nil:
		values, err := source.Secret(from.SecretRef.Name)
		return optional(values, err, from.SecretRef.Optional, "secret", from.SecretRef.Name)
	default:
		return nil, nil
	}
}

func optional(values map[string]string, err error, isOptional *bool, kind, name string) (map[string]string, error) {
	if errors.Is(err, ErrNoObject) && isOptional != nil && *isOptional {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", kind, name, err)
	}
	return values, nil
}

func oneVariable(variable corev1.EnvVar, pod *corev1.Pod, container *corev1.Container, source Source, facts Facts, defined map[string]string) (value string, present bool, err error) {
	if variable.ValueFrom == nil {
		return expansion.Expand(variable.Value, expansion.MappingFuncFor(defined)), true, nil
	}
	switch from := variable.ValueFrom; {
	case from.FieldRef != nil:
		value, err = field(from.FieldRef.FieldPath, pod, facts)
		return value, true, err
	case from.ResourceFieldRef != nil:
		name := from.ResourceFieldRef.ContainerName
		if name == "" {
			name = container.Name
		}
		value, err = resource.ExtractResourceValueByContainerName(from.ResourceFieldRef, pod, name)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		values, err := source.ConfigMap(ref.Name)
		return oneKey(values, err, ref.Key, ref.Optional, "configmap", ref.Name)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		values, err := source.Secret(ref.Name)
		return oneKey(values, err, ref.Key, ref.Optional, "secret", ref.Name)
	default:
		return "", false, fmt.Errorf("variable %s: this kind of valueFrom is not supported by the rehearsal's node agent", variable.Name)
	}
}

func oneKey(values map[string]string, err error, key string, isOptional *bool, kind, name string) (string, bool, error) {
	values, err = optional(values, err, isOptional, kind, name)
	if err != nil {
		return "", false, err
	}
	value, present := values[key]
	if !present && (isOptional == nil || !*isOptional) {
		return "", false, fmt.Errorf("couldn't find key %s in %s %q", key, kind, name)
	}
	return value, present, nil
}

// field reads a field of the downward API.
func field(path string, pod *corev1.Pod, facts Facts) (string, error) {
	switch path {
	case "status.podIP", "status.podIPs":
		return facts.PodIP, nil
	case "status.hostIP", "status.hostIPs":
		return facts.HostIP, nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	default:
		return fieldpath.ExtractFieldPathAsString(pod, path)
	}
}

// expandAll replaces $(NAME) in a container's command and args.
func expandAll(texts []string, env map[string]string) []string {
	expanded := make([]string, len(texts))
	for i, text := range texts {
		expanded[i] = expansion.Expand(text, expansion.MappingFuncFor(env))
	}
	return expanded
}

// list turns an environment into sorted NAME=value strings.
func list(env map[string]string) []string {
	lines := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		lines = append(lines, name+"="+env[name])
	}
	return lines
}
