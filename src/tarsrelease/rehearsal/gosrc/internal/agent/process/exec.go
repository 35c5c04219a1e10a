package process

import (
	"context"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// Streams are where a command inside a container reads and writes; nil means
// nothing.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Exec runs one command beside a container's process, with its environment
// and folder, and gives its exit code. When ctx ends the command is killed. An
// error means that it could not be run to its end.
func Exec(ctx context.Context, spec Spec, streams Streams) (code int, err error) {
	path, err := lookPath(spec.Command[0], spec.Env)
	if err != nil {
		return 127, err
	}
	command := exec.CommandContext(ctx, path)
	command.Args, command.Env, command.Dir = spec.Command, spec.Env, spec.Dir
	command.Stdout, command.Stderr = streams.Out, streams.Err
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: spec.Credential}
	command.Cancel = func() error { killTree(command.Process.Pid); return nil }
	command.WaitDelay = time.Second // a child that keeps the pipes open
	if streams.In != nil {
		// Copied by us: os/exec would wait for the reader's end even after
		// the command's.
		input, err := command.StdinPipe()
		if err != nil {
			return 255, err
		}
		go func() {
			_, _ = io.Copy(input, streams.In) // the command may end without reading all
			input.Close()
		}()
	}
	err = command.Run()
	if ctx.Err() != nil {
		return 255, ctx.Err()
	}
	if command.ProcessState == nil {
		return 255, err
	}
	return exitCode(command.ProcessState, nil), nil
}
