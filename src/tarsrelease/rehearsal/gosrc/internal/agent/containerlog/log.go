// Package containerlog keeps what a container writes, in the line format that
// container runtimes use ("TIME STREAM F|P TEXT"), and reads it back for
// kubectl logs.
package containerlog

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// timeLayout is RFC 3339 with a fixed number of digits, so that lines sort.
const timeLayout = "2006-01-02T15:04:05.000000000Z07:00"

// rotateAt is the size after which a file is moved aside, kubelet's default;
// one older file is kept.
const rotateAt = 10 << 20

// chunk is the longest text of one line; longer lines are split into parts
// marked P, and put together again by the reader.
const chunk = 16 << 10

// Log is the log of one run of one container. Writers and followers may use
// it at the same time.
type Log struct {
	path string

	mu      sync.Mutex
	file    *os.File
	size    int64
	closed  bool
	changed chan struct{} // closed and replaced at each write, so that followers wake
}

// Create starts an empty log at path, making its folder.
func Create(path string) (*Log, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &Log{path: path, file: file, changed: make(chan struct{})}, nil
}

// Path is where the log's newest lines are.
func (l *Log) Path() string { return l.path }

// Copy writes everything read from stream until its end, one entry a line.
// name is "stdout" or "stderr".
func (l *Log) Copy(name string, stream io.Reader) {
	reader := bufio.NewReaderSize(stream, chunk)
	for {
		text, isPart, err := reader.ReadLine()
		if err != nil {
			return // the stream's end; nothing more will come
		}
		tag := byte('F')
		if isPart {
			tag = 'P'
		}
		l.write(fmt.Appendf(nil, "%s %s %c %s\n", time.Now().UTC().Format(timeLayout), name, tag, text))
	}
}

func (l *Log) write(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if l.size > rotateAt {
		l.rotate()
	}
	n, _ := l.file.Write(line) // a full disk loses log lines; it must not stop the container
	l.size += int64(n)
	close(l.changed)
	l.changed = make(chan struct{})
}

// rotate moves the file aside and starts a new one; if that fails, the log
// goes on in the old file.
func (l *Log) rotate() {
	if err := os.Rename(l.path, l.path+".old"); err != nil {
		return
	}
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	l.file.Close()
	l.file, l.size = file, 0
}

// Close ends the log: followers read the rest and stop.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		l.file.Close()
		close(l.changed)
	}
}

// state gives a channel that is closed at the next write, and whether the log
// has ended.
func (l *Log) state() (changed <-chan struct{}, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed, l.closed
}
