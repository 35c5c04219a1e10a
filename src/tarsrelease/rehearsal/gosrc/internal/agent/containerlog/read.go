package containerlog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// Options select and shape the lines, as the query of kubelet's containerLogs.
type Options struct {
	Tail       int64 // last lines only; negative: all
	Since      time.Time
	Timestamps bool
	LimitBytes int64 // 0: no limit
}

var errLimit = errors.New("the byte limit is reached")

// Read writes the lines of the file at path to out. With a live log it then
// follows that log until it ends or ctx is done; live may be nil.
func Read(ctx context.Context, path string, live *Log, options Options, out io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { file.Close() }()
	if options.Tail >= 0 {
		offset, err := tailOffset(file, options.Tail)
		if err != nil {
			return err
		}
		if _, err := file.Seek(offset, io.SeekStart); err != nil {
			return err
		}
	}
	printer := &printer{options: options, out: out}
	reader := bufio.NewReader(file)
	var partial []byte
	for {
		var changed <-chan struct{}
		closed := true
		if live != nil {
			// Asked before reading: a write after this wakes us.
			changed, closed = live.state()
		}
		// Also asked before: a file moved aside gets no more lines.
		stale := live != nil && rotated(file, path)
		for {
			piece, err := reader.ReadBytes('\n')
			partial = append(partial, piece...)
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			if err := printer.line(partial); errors.Is(err, errLimit) {
				return nil
			} else if err != nil {
				return err
			}
			partial = partial[:0]
		}
		if stale {
			next, err := os.Open(path)
			if err != nil {
				return err
			}
			file.Close()
			file = next
			reader.Reset(file)
			continue
		}
		if closed {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// rotated says whether path names another file by now.
func rotated(file *os.File, path string) bool {
	mine, err := file.Stat()
	if err != nil {
		return false
	}
	current, err := os.Stat(path)
	return err == nil && !os.SameFile(mine, current)
}

// tailOffset is where the last n lines of the file begin, in bytes. It reads
// blocks from the end, so a large log costs no more than its tail.
func tailOffset(file *os.File, n int64) (int64, error) {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return end, err
	}
	const block = 64 << 10
	buffer := make([]byte, block)
	newlines := int64(0)
	for end > 0 {
		start := max(0, end-block)
		part := buffer[:end-start]
		if _, err := file.ReadAt(part, start); err != nil && err != io.EOF {
			return 0, err
		}
		for i := len(part) - 1; i >= 0; i-- {
			if part[i] != '\n' {
				continue
			}
			newlines++
			if newlines > n { // the newline that ends the line before the tail
				return start + int64(i) + 1, nil
			}
		}
		end = start
	}
	return 0, nil
}

// printer turns stored entries back into what the container wrote.
type printer struct {
	options Options
	out     io.Writer
	written int64
	midLine bool // the entry before was a part: no second timestamp
}

func (p *printer) line(entry []byte) error {
	at, rest, ok := bytes.Cut(entry, []byte(" "))
	_, rest, ok2 := bytes.Cut(rest, []byte(" "))
	tag, text, ok3 := bytes.Cut(rest, []byte(" "))
	if !ok || !ok2 || !ok3 {
		return nil // not an entry of ours (a torn write)
	}
	if !p.options.Since.IsZero() {
		if when, err := time.Parse(timeLayout, string(at)); err == nil && when.Before(p.options.Since) {
			return nil
		}
	}
	shown := text
	if p.options.Timestamps && !p.midLine {
		shown = append(append(append([]byte{}, at...), ' '), text...)
	}
	p.midLine = len(tag) == 1 && tag[0] == 'P'
	if p.midLine {
		shown = bytes.TrimSuffix(shown, []byte("\n"))
	}
	if limit := p.options.LimitBytes; limit > 0 && p.written+int64(len(shown)) > limit {
		_, err := p.out.Write(shown[:limit-p.written])
		return errors.Join(errLimit, err)
	}
	n, err := p.out.Write(shown)
	p.written += int64(n)
	return err
}
