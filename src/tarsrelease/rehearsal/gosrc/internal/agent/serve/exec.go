package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"tarsrelease/rehearsal/internal/agent/pods"
	"tarsrelease/rehearsal/internal/agent/process"
)

const (
	// streamIdle ends connections on which nothing moves, kubelet's default.
	streamIdle = 4 * time.Hour
	// streamOpen is the time a client has to open its streams.
	streamOpen = 30 * time.Second
)

// running finds the container that a request's path names.
func (n Node) running(r *http.Request, container string) (*pods.Snapshot, pods.ContainerSnapshot, error) {
	pod, found := n.Manager.Find(r.PathValue("namespace"), r.PathValue("pod"))
	if !found {
		return nil, pods.ContainerSnapshot{}, fmt.Errorf("pod %q does not exist", r.PathValue("pod"))
	}
	c, found := pod.Container(container)
	if !found || c.PID == 0 {
		return nil, c, fmt.Errorf("container %q of pod %q is not running", container, pod.Pod.Name)
	}
	return pod, c, nil
}

// exec is kubelet's /exec/NAMESPACE/POD/CONTAINER?command=…: the command runs
// as a local process with the container's environment. There is no terminal.
func (n Node) exec(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	command := r.URL.Query()["command"]
	pod, container, err := n.running(r, r.PathValue("container"))
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case len(command) == 0:
		http.Error(w, "no command", http.StatusBadRequest)
		return
	case options.TTY:
		http.Error(w, "the rehearsal's node agent gives no terminal; leave out --tty", http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, executor{pod, container}, pod.Pod.Name, string(pod.Pod.UID), container.Name,
		command, options, streamIdle, streamOpen, remotecommand.SupportedStreamingProtocols)
}

// executor runs one command in one container.
type executor struct {
	pod       *pods.Snapshot
	container pods.ContainerSnapshot
}

func (e executor) ExecInContainer(ctx context.Context, _, _, _ string, command []string, in io.Reader, out, failures io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	streams := process.Streams{In: in}
	if out != nil {
		streams.Out = out
	}
	if failures != nil {
		streams.Err = failures
	}
	code, err := process.Exec(ctx, process.Spec{
		Command: command, Env: e.container.Env, Dir: e.pod.Dir, Credential: e.container.Credential,
	}, streams)
	if code != 0 {
		if err == nil {
			err = fmt.Errorf("exit code %d", code)
		}
		return utilexec.CodeExitError{Err: err, Code: code}
	}
	return err
}

// portForward is kubelet's /portForward/NAMESPACE/POD.
func (n Node) portForward(w http.ResponseWriter, r *http.Request) {
	pod, _, err := n.running(r, "")
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, forwarder{pod.IP}, pod.Pod.Name, string(types.UID(pod.Pod.UID)), options,
		streamIdle, streamOpen, portforward.SupportedProtocols)
}

// forwarder connects streams to ports of one pod.
type forwarder struct{ ip string }

func (f forwarder) PortForward(ctx context.Context, _ string, _ string, port int32, stream io.ReadWriteCloser) error {
	connection, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(f.ip, strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	tcp, ok := connection.(*net.TCPConn)
	if !ok {
		return errors.Join(errors.New("not a TCP connection"), connection.Close())
	}
	defer tcp.Close()
	var answered sync.WaitGroup
	answered.Add(1)
	go func() {
		defer answered.Done()
		_, _ = io.Copy(stream, tcp) // either side may close at any time
		stream.Close()
	}()
	_, _ = io.Copy(tcp, stream) // as above
	_ = tcp.CloseWrite()        // closed already when the pod went first
	answered.Wait()
	return nil
}
