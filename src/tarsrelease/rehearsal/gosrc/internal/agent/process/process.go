// Package process runs containers as local processes: starting them in a
// session of their own, ending them with all they started, and reading from
// /proc what they use.
package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"tarsrelease/rehearsal/internal/agent/containerlog"
)

// drainTime is how long output is still read after the process ended, when a
// child of it keeps the pipe open.
const drainTime = time.Second

// Spec is what to run.
type Spec struct {
	Command    []string // argument vector; the first element is looked up in PATH of Env
	Env        []string // the whole environment, NAME=value
	Dir        string   // working directory
	Credential *syscall.Credential
	Log        *containerlog.Log // closed when the process has ended and its output is read
}

// Exit is how a process ended.
type Exit struct {
	Code int // 0 to 255; 128 + signal when a signal ended it
	At   time.Time
}

// Process is one running (or ended) container process, leader of its group.
type Process struct {
	pid     int
	born    uint64 // clock ticks after boot, from /proc: tells it from a later process with this pid
	Started time.Time
	done    chan struct{}
	exit    Exit
}

// Start runs spec. An error means that nothing runs.
func Start(spec Spec) (*Process, error) {
	if len(spec.Command) == 0 {
		return nil, errors.New("the image names no command")
	}
	path, err := lookPath(spec.Command[0], spec.Env)
	if err != nil {
		return nil, err
	}
	stdout, stdoutWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	stderr, stderrWrite, err := os.Pipe()
	if err != nil {
		stdout.Close()
		stdoutWrite.Close()
		return nil, err
	}
	command := &exec.Cmd{
		Path: path, Args: spec.Command, Env: spec.Env, Dir: spec.Dir,
		Stdout: stdoutWrite, Stderr: stderrWrite,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Credential: spec.Credential},
	}
	err = command.Start()
	stdoutWrite.Close()
	stderrWrite.Close()
	if err != nil {
		stdout.Close()
		stderr.Close()
		return nil, err
	}
	p := &Process{pid: command.Process.Pid, Started: time.Now(), done: make(chan struct{})}
	if stat, err := readStat(p.pid); err == nil {
		p.born = stat.born
	}
	go p.wait(command, spec.Log, stdout, stderr)
	return p, nil
}

func (p *Process) wait(command *exec.Cmd, log *containerlog.Log, stdout, stderr *os.File) {
	copied := make(chan struct{}, 2)
	for name, stream := range map[string]*os.File{"stdout": stdout, "stderr": stderr} {
		go func() {
			log.Copy(name, stream)
			copied <- struct{}{}
		}()
	}
	state, err := command.Process.Wait()
	p.exit = Exit{Code: exitCode(state, err), At: time.Now()}
	// Nothing of a container outlives its first process.
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // ESRCH: the group is gone already
	deadline := time.Now().Add(drainTime)
	for _, stream := range []*os.File{stdout, stderr} {
		_ = stream.SetReadDeadline(deadline) // pipes support it; without it reading ends at EOF
	}
	for range 2 {
		<-copied
	}
	stdout.Close()
	stderr.Close()
	log.Close()
	close(p.done)
}

func exitCode(state *os.ProcessState, err error) int {
	if err != nil || state == nil {
		return 255
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// PID is the process id, which is also the id of its group and session.
func (p *Process) PID() int { return p.pid }

// Done is closed when the process has ended and its output has been read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit is valid after Done.
func (p *Process) Exit() Exit { return p.exit }

// Running says whether the process has not been seen to end.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Terminate asks the group to end (SIGTERM).
func (p *Process) Terminate() {
	if p.Running() {
		_ = syscall.Kill(-p.pid, syscall.SIGTERM) // ESRCH: it ended meanwhile
	}
}

// Kill ends the group and every descendant, also those that made a group of
// their own (PostgreSQL's do).
func (p *Process) Kill() {
	if p.Running() {
		killTree(p.pid)
	}
}

func killTree(pid int) {
	var members []int
	if table, err := ReadTable(); err == nil {
		members = table.tree(pid)
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL) // ESRCH: nothing left to kill, here and below
	for _, member := range members {
		_ = syscall.Kill(member, syscall.SIGKILL)
	}
}

// Record is a line that lets a later life of the agent find the process.
func (p *Process) Record() string { return fmt.Sprintf("%d %d\n", p.pid, p.born) }

// KillRecorded ends the process of a record if it still is the same one.
func KillRecorded(record string) {
	var pid int
	var born uint64
	if _, err := fmt.Sscanf(record, "%d %d", &pid, &born); err != nil || pid <= 1 {
		return
	}
	if stat, err := readStat(pid); err == nil && stat.born == born {
		killTree(pid)
	}
}

// lookPath finds a program as execvp would with the container's own PATH.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, variable := range env {
		path, ok := strings.CutPrefix(variable, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range strings.Split(path, ":") {
			candidate := dir + "/" + name
			if info, err := os.Stat(candidate); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
				return candidate, nil
			}
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH", name)
}
