// Package usage measures what containers and the node use, once a second, and
// ends containers that outgrow their memory limit.
package usage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"tarsrelease/rehearsal/internal/agent/pods"
	"tarsrelease/rehearsal/internal/agent/process"
)

const (
	interval = time.Second
	// window is the span over which CPU use is averaged for kubectl top.
	window = 15 * time.Second
)

// Key is one run of one container.
type Key struct {
	Pod       types.UID
	Container string
	PID       int
}

// Reading is what a container (or the node) uses.
type Reading struct {
	process.Usage
	Cores  float64       // mean over Window
	Window time.Duration // 0 until there are two readings
}

// Sampler holds the newest readings.
type Sampler struct {
	manager *pods.Manager

	mu         sync.Mutex
	containers map[Key][]process.Usage // oldest first, at most window old
	node       []process.Usage
}

// NewSampler makes a sampler; Run makes it work.
func NewSampler(manager *pods.Manager) *Sampler {
	return &Sampler{manager: manager, containers: map[Key][]process.Usage{}}
}

// Run reads once a second until ctx is done.
func (s *Sampler) Run(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := s.sample(); err != nil {
			slog.Warn("reading /proc failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *Sampler) sample() error {
	table, err := process.ReadTable()
	if err != nil {
		return err
	}
	node, err := readNode()
	if err != nil {
		return err
	}
	fresh := map[Key]process.Usage{}
	for _, pod := range s.manager.Snapshots() {
		for _, c := range pod.Containers {
			if c.PID == 0 || !table.Alive(c.PID) {
				continue
			}
			usage := table.Usage(c.PID)
			fresh[Key{pod.Pod.UID, c.Name, c.PID}] = usage
			if c.MemoryLimit > 0 && usage.MemoryBytes > c.MemoryLimit {
				s.manager.KillForMemory(pod.Pod.UID, c.Name, c.PID)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.node = appended(s.node, node)
	kept := make(map[Key][]process.Usage, len(fresh))
	for key, usage := range fresh {
		kept[key] = appended(s.containers[key], usage)
	}
	s.containers = kept
	return nil
}

// appended adds a reading and drops those too old for the window.
func appended(history []process.Usage, next process.Usage) []process.Usage {
	first := 0
	for first < len(history) && next.At.Sub(history[first].At) > window {
		first++
	}
	return append(history[first:len(history):len(history)], next)
}

// Container gives the newest reading of a run; false before the first.
func (s *Sampler) Container(key Key) (Reading, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return summarise(s.containers[key])
}

// Node gives the newest reading of the machine.
func (s *Sampler) Node() (Reading, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return summarise(s.node)
}

func summarise(history []process.Usage) (Reading, bool) {
	if len(history) == 0 {
		return Reading{}, false
	}
	first, last := history[0], history[len(history)-1]
	reading := Reading{Usage: last, Window: last.At.Sub(first.At)}
	if reading.Window > 0 {
		// A child that was not reaped takes its CPU time with it.
		reading.Cores = max(0, (last.CPU-first.CPU).Seconds()/reading.Window.Seconds())
	}
	return reading, true
}

// readNode reads the machine's memory in use and CPU time spent.
func readNode() (process.Usage, error) {
	memory, err := Memory()
	if err != nil {
		return process.Usage{}, err
	}
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return process.Usage{}, err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return process.Usage{}, fmt.Errorf("/proc/stat begins with %q", line)
	}
	busy := time.Duration(0)
	for i, field := range fields[1:9] { // user nice system idle iowait irq softirq steal
		if i == 3 || i == 4 {
			continue
		}
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return process.Usage{}, err
		}
		busy += time.Duration(n) * 10 * time.Millisecond // USER_HZ is 100
	}
	return process.Usage{At: time.Now(), MemoryBytes: memory.Total - memory.Available, CPU: busy}, nil
}

// MemoryInfo is the machine's memory in bytes.
type MemoryInfo struct{ Total, Available int64 }

// Memory reads /proc/meminfo.
func Memory() (MemoryInfo, error) {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return MemoryInfo{}, err
	}
	defer file.Close()
	var info MemoryInfo
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			continue // not a number of kB
		}
		switch fields[0] {
		case "MemTotal:":
			info.Total = n << 10
		case "MemAvailable:":
			info.Available = n << 10
		}
	}
	if info.Total == 0 {
		return info, errors.Join(errors.New("/proc/meminfo names no MemTotal"), lines.Err())
	}
	return info, nil
}
