package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ticks is USER_HZ, the unit of CPU time in /proc; 100 on every Linux port.
const ticks = 100

var pageSize = int64(os.Getpagesize())

// stat is what the agent uses of /proc/PID/stat (proc_pid_stat(5)).
type stat struct {
	parent, group int
	cpuTicks      int64 // user and system, its own and its reaped children's
	born          uint64
	resident      int64 // pages
	zombie        bool
}

// Usage is what a container's process tree uses at one moment.
type Usage struct {
	At          time.Time
	MemoryBytes int64         // resident; shared pages are counted once
	CPU         time.Duration // since the container started
}

// Table is one reading of all processes.
type Table struct {
	at       time.Time
	stats    map[int]stat
	children map[int][]int
}

// ReadTable reads /proc once for everybody who wants to know.
func ReadTable() (*Table, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	table := &Table{at: time.Now(), stats: map[int]stat{}, children: map[int][]int{}}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue // not a process
		}
		s, err := readStat(pid)
		if err != nil {
			continue // ended while we were reading
		}
		table.stats[pid] = s
		table.children[s.parent] = append(table.children[s.parent], pid)
	}
	return table, nil
}

// tree lists root, its descendants and every member of its process group.
func (t *Table) tree(root int) []int {
	seen := map[int]bool{}
	var members []int
	var add func(pid int)
	add = func(pid int) {
		if seen[pid] {
			return
		}
		seen[pid] = true
		if _, alive := t.stats[pid]; alive {
			members = append(members, pid)
		}
		for _, child := range t.children[pid] {
			add(child)
		}
	}
	add(root)
	for pid, s := range t.stats {
		if s.group == root {
			add(pid)
		}
	}
	return members
}

// Usage sums up the tree of a container. Private pages are summed; of the
// shared ones (file mappings, PostgreSQL's buffers) the largest reading counts
// once, as a memory cgroup would charge them.
func (t *Table) Usage(root int) Usage {
	usage := Usage{At: t.at}
	var largestShared, cpuTicks int64
	for _, pid := range t.tree(root) {
		s := t.stats[pid]
		cpuTicks += s.cpuTicks
		if s.zombie {
			continue
		}
		shared := min(sharedPages(pid), s.resident)
		largestShared = max(largestShared, shared)
		usage.MemoryBytes += (s.resident - shared) * pageSize
	}
	usage.MemoryBytes += largestShared * pageSize
	usage.CPU = time.Duration(cpuTicks) * (time.Second / ticks)
	return usage
}

// Alive says whether the process exists and is no zombie.
func (t *Table) Alive(pid int) bool {
	s, ok := t.stats[pid]
	return ok && !s.zombie
}

func readStat(pid int) (stat, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(content)
}

// parseStat reads the fields after the command name, which stands in
// parentheses and may itself hold spaces and parentheses.
func parseStat(content []byte) (stat, error) {
	end := bytes.LastIndexByte(content, ')')
	if end < 0 {
		return stat{}, errors.New("no command name in stat")
	}
	fields := bytes.Fields(content[end+1:])
	if len(fields) < 22 {
		return stat{}, errors.New("too few fields in stat")
	}
	// Field numbers as in the manual page; fields[0] is number 3, the state.
	number := func(field int) int64 {
		value, _ := strconv.ParseInt(string(fields[field-3]), 10, 64) // the kernel writes numbers
		return value
	}
	return stat{
		parent: int(number(4)), group: int(number(5)),
		cpuTicks: number(14) + number(15) + number(16) + number(17),
		born:     uint64(number(22)), resident: number(24),
		zombie: fields[0][0] == 'Z' || fields[0][0] == 'X',
	}, nil
}

// sharedPages is the third field of /proc/PID/statm: resident pages that are
// file-backed or shared memory; 0 when the process is gone.
func sharedPages(pid int) int64 {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(content)
	if len(fields) < 3 {
		return 0
	}
	value, _ := strconv.ParseInt(string(fields[2]), 10, 64) // the kernel writes numbers
	return value
}
