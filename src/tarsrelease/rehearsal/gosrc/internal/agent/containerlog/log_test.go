package containerlog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func written(t *testing.T, text string) *Log {
	t.Helper()
	log, err := Create(filepath.Join(t.TempDir(), "c", "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	log.Copy("stdout", strings.NewReader(text))
	log.Close()
	return log
}

func read(t *testing.T, log *Log, options Options) string {
	t.Helper()
	var out bytes.Buffer
	if err := Read(context.Background(), log.Path(), log, options, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestReadGivesBackWhatWasWritten(t *testing.T) {
	long := strings.Repeat("x", 3*chunk+7)
	text := "one\ntwo words\n\n" + long + "\nlast\n"
	if got := read(t, written(t, text), Options{Tail: -1}); got != text {
		t.Errorf("read %d bytes back, wrote %d", len(got), len(text))
	}
}

func TestTail(t *testing.T) {
	log := written(t, "1\n2\n3\n4\n")
	for n, want := range map[int64]string{0: "", 1: "4\n", 3: "2\n3\n4\n", 9: "1\n2\n3\n4\n"} {
		if got := read(t, log, Options{Tail: n}); got != want {
			t.Errorf("tail %d: %q, want %q", n, got, want)
		}
	}
}

func TestSinceTimestampsAndLimit(t *testing.T) {
	log := written(t, "hello\n")
	if got := read(t, log, Options{Tail: -1, Since: time.Now().Add(time.Hour)}); got != "" {
		t.Errorf("lines older than since were shown: %q", got)
	}
	got := read(t, log, Options{Tail: -1, Timestamps: true})
	at, text, _ := strings.Cut(got, " ")
	if _, err := time.Parse(time.RFC3339Nano, at); err != nil || text != "hello\n" {
		t.Errorf("timestamped line: %q", got)
	}
	if got := read(t, log, Options{Tail: -1, LimitBytes: 3}); got != "hel" {
		t.Errorf("limit 3: %q", got)
	}
}

func TestFollowEndsWithTheLog(t *testing.T) {
	log, err := Create(filepath.Join(t.TempDir(), "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	source, sink := io.Pipe()
	go func() {
		log.Copy("stderr", source)
		log.Close()
	}()
	seen, show := io.Pipe()
	go func() {
		show.CloseWithError(Read(context.Background(), log.Path(), log, Options{Tail: -1}, show))
	}()
	buffer := make([]byte, 100)
	for i := range 3 {
		line := fmt.Sprintf("line %d\n", i)
		if _, err := io.WriteString(sink, line); err != nil {
			t.Fatal(err)
		}
		n, err := io.ReadFull(seen, buffer[:len(line)])
		if err != nil || string(buffer[:n]) != line {
			t.Fatalf("followed %q, %v; want %q", buffer[:n], err, line)
		}
	}
	sink.Close()
	if rest, err := io.ReadAll(seen); err != nil || len(rest) != 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

func TestFollowCrossesRotation(t *testing.T) {
	log, err := Create(filepath.Join(t.TempDir(), "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	log.write([]byte("2026-01-01T00:00:00.000000000Z stdout F old\n"))
	seen, show := io.Pipe()
	go func() {
		show.CloseWithError(Read(context.Background(), log.Path(), log, Options{Tail: -1}, show))
	}()
	buffer := make([]byte, 4)
	if _, err := io.ReadFull(seen, buffer); err != nil || string(buffer) != "old\n" {
		t.Fatalf("%q, %v", buffer, err)
	}
	log.mu.Lock()
	log.rotate()
	log.mu.Unlock()
	log.write([]byte("2026-01-01T00:00:01.000000000Z stdout F new\n"))
	log.Close()
	if rest, err := io.ReadAll(seen); err != nil || string(rest) != "new\n" {
		t.Errorf("after rotation: %q, %v", rest, err)
	}
}
