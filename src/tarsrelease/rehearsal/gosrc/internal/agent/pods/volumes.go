package pods

import (
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
)

// prepareVolumes makes the folders of a pod's volumes and gives them by name.
// Nothing is mounted, since all processes share one file system: a container
// finds its folder in VOLUME_<NAME>. ConfigMaps and Secrets are written out as
// they are now; projected volumes (the service account's token) are left out.
func (r *Runtime) prepareVolumes(pod *corev1.Pod, source Source) (map[string]string, error) {
	folders := map[string]string{}
	for _, volume := range pod.Spec.Volumes {
		dir := r.volumeDir(pod, volume.Name)
		var files map[string]string
		var err error
		switch {
		case volume.EmptyDir != nil:
		case volume.ConfigMap != nil:
			files, err = source.ConfigMap(volume.ConfigMap.Name)
			files, err = optional(files, err, volume.ConfigMap.Optional, "configmap", volume.ConfigMap.Name)
			files = chosen(files, volume.ConfigMap.Items)
		case volume.Secret != nil:
			files, err = source.Secret(volume.Secret.SecretName)
			files, err = optional(files, err, volume.Secret.Optional, "secret", volume.Secret.SecretName)
			files = chosen(files, volume.Secret.Items)
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("volume %q: %w", volume.Name, err)
		}
		if err := writeFiles(dir, files); err != nil {
			return nil, fmt.Errorf("volume %q: %w", volume.Name, err)
		}
		folders[volume.Name] = dir
	}
	return folders, nil
}

// chosen picks the listed keys under their paths; no list means all.
func chosen(files map[string]string, items []corev1.KeyToPath) map[string]string {
	if len(items) == 0 {
		return files
	}
	picked := map[string]string{}
	for _, item := range items {
		if content, ok := files[item.Key]; ok {
			picked[item.Path] = content
		}
	}
	return picked
}

func writeFiles(dir string, files map[string]string) error {
	// Any user a container runs as must be able to write here.
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return err
	}
	for path, content := range files {
		full := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Unsupported lists what of a pod's spec the agent leaves out, in words for an
// event.
func Unsupported(spec *corev1.PodSpec) []string {
	var found []string
	for _, volume := range spec.Volumes {
		if volume.EmptyDir == nil && volume.ConfigMap == nil && volume.Secret == nil && volume.Projected == nil {
			found = append(found, fmt.Sprintf("volume %q: only emptyDir, configMap and secret are given to processes", volume.Name))
		}
	}
	for _, group := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for _, container := range group {
			for _, probe := range []*corev1.Probe{container.StartupProbe, container.ReadinessProbe, container.LivenessProbe} {
				if probe != nil && probe.GRPC != nil {
					found = append(found, fmt.Sprintf("container %q: a gRPC probe counts as failed", container.Name))
				}
			}
			if container.Lifecycle != nil && container.Lifecycle.PostStart != nil {
				found = append(found, fmt.Sprintf("container %q: postStart is not run", container.Name))
			}
		}
	}
	return found
}
