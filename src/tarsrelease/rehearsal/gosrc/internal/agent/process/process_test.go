package process

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tarsrelease/rehearsal/internal/agent/containerlog"
)

func start(t *testing.T, script string) (*Process, *containerlog.Log) {
	t.Helper()
	dir := t.TempDir()
	log, err := containerlog.Create(filepath.Join(dir, "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Spec{
		Command: []string{"sh", "-c", script},
		Env:     []string{"PATH=" + os.Getenv("PATH"), "GREETING=hello"},
		Dir:     dir, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, log
}

func ended(t *testing.T, p *Process) Exit {
	t.Helper()
	select {
	case <-p.Done():
		return p.Exit()
	case <-time.After(10 * time.Second):
		t.Fatal("the process did not end")
		return Exit{}
	}
}

func output(t *testing.T, log *containerlog.Log) string {
	t.Helper()
	var out bytes.Buffer
	if err := containerlog.Read(context.Background(), log.Path(), nil, containerlog.Options{Tail: -1}, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestExitCodesAndOutput(t *testing.T) {
	p, log := start(t, `echo "$GREETING"; exit 3`)
	if exit := ended(t, p); exit.Code != 3 {
		t.Errorf("exit code %d, want 3", exit.Code)
	}
	if got := output(t, log); got != "hello\n" {
		t.Errorf("output %q", got)
	}
	p, _ = start(t, `kill -9 $$`)
	if exit := ended(t, p); exit.Code != 137 {
		t.Errorf("exit code %d, want 137", exit.Code)
	}
}

func TestKillReachesDescendantsInOtherSessions(t *testing.T) {
	p, log := start(t, `setsid sh -c 'echo $$; exec sleep 300' & wait`)
	var child int
	for deadline := time.Now().Add(10 * time.Second); child == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the child never said its pid")
		}
		child, _ = strconv.Atoi(strings.TrimSpace(output(t, log)))
		time.Sleep(10 * time.Millisecond)
	}
	p.Kill()
	ended(t, p)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		table, err := ReadTable()
		if err != nil {
			t.Fatal(err)
		}
		if !table.Alive(child) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("child %d is alive after the kill", child)
		}
	}
}

func TestRecordedProcessIsKilledOnlyWhileItIsTheSame(t *testing.T) {
	p, _ := start(t, `sleep 300`)
	KillRecorded(fmt.Sprintf("%d %d\n", p.PID(), p.born+1))
	if syscall.Kill(p.PID(), 0) != nil || !p.Running() {
		t.Fatal("a process born at another time was killed")
	}
	KillRecorded(p.Record())
	if exit := ended(t, p); exit.Code != 137 {
		t.Errorf("exit code %d, want 137", exit.Code)
	}
}

func TestUnknownProgramIsAnError(t *testing.T) {
	log, err := containerlog.Create(filepath.Join(t.TempDir(), "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Spec{Command: []string{"no-such-program"}, Env: []string{"PATH=/bin"}, Log: log}); err == nil {
		t.Error("starting an unknown program must fail")
	}
}

func TestParseStatSurvivesOddNames(t *testing.T) {
	line := "42 (a) b) S 7 42 42 0 -1 0 0 0 0 0 10 20 3 4 20 0 1 0 5555 1000000 321 0"
	s, err := parseStat([]byte(line))
	if err != nil || s.parent != 7 || s.group != 42 || s.cpuTicks != 37 || s.born != 5555 || s.resident != 321 {
		t.Errorf("parsed %+v, %v", s, err)
	}
}

func TestUsageSumsTheTree(t *testing.T) {
	p, _ := start(t, `sleep 300 & sleep 300 & wait`)
	var members []int
	for deadline := time.Now().Add(10 * time.Second); len(members) < 3; time.Sleep(10 * time.Millisecond) {
		table, err := ReadTable()
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("members %v, %v", members, err)
		}
		members = table.tree(p.PID())
		if usage := table.Usage(p.PID()); len(members) == 3 && usage.MemoryBytes <= 0 {
			t.Errorf("usage %+v", usage)
		}
	}
}
