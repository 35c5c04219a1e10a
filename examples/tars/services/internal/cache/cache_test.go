package cache

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tars-ai/tars/services/internal/release"
)

func TestWithoutRedisEveryAnswerIsComputed(t *testing.T) {
	t.Setenv("REDIS_ADDR", "127.0.0.1:1")
	c := Open(release.Release{Version: "1.0.1"})
	defer c.Close()
	computed := 0
	started := time.Now()
	for range 100 {
		value, err := c.Remember(t.Context(), "key", time.Minute, func(context.Context) ([]byte, error) {
			computed++
			return []byte("value"), nil
		})
		if err != nil || string(value) != "value" {
			t.Fatalf("Remember gives %q, %v", value, err)
		}
	}
	if computed != 100 {
		t.Errorf("computed %d times, want 100", computed)
	}
	// One refused connection, then Redis is left alone.
	if took := time.Since(started); took > 400*time.Millisecond {
		t.Errorf("100 answers took %s: each waited for Redis", took)
	}
}

func TestAFailedComputationIsTheAnswer(t *testing.T) {
	t.Setenv("REDIS_ADDR", "127.0.0.1:1")
	c := Open(release.Release{})
	defer c.Close()
	failed := errors.New("failed")
	if _, err := c.Remember(t.Context(), "key", time.Minute, func(context.Context) ([]byte, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Errorf("Remember gives %v", err)
	}
}
