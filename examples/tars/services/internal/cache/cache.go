// Package cache keeps hot answers in Redis for a moment. It is only ever a
// shortcut: without Redis, every answer is computed.
package cache

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tars-ai/tars/services/internal/release"
	"github.com/tars-ai/tars/services/internal/settings"
	"github.com/tars-ai/tars/services/internal/web"
)

// pause is how long Redis is left alone after it failed: a request must not
// wait for it twice.
const pause = 2 * time.Second

// Cache is a small store of bytes by key. A version sees only what the same
// version wrote, since another one's answers may be the defect it repairs.
type Cache struct {
	client  *redis.Client
	prefix  string
	retryAt atomic.Int64
	metrics cacheMetrics
}

// Open prepares the cache at REDIS_ADDR (host:port). It does not connect yet.
func Open(rel release.Release) *Cache {
	return &Cache{
		client: redis.NewClient(&redis.Options{
			Addr:        settings.Text("REDIS_ADDR", "tars-redis:6379"),
			DialTimeout: 300 * time.Millisecond, ReadTimeout: 200 * time.Millisecond, WriteTimeout: 200 * time.Millisecond,
			MaxRetries:    -1,
			DialerRetries: 1,
		}),
		prefix:  "tars:" + rel.Version + ":",
		metrics: newCacheMetrics(),
	}
}

// Close lets the connections go.
func (c *Cache) Close() error { return c.client.Close() }

// Get is the value of a key, and whether there is one.
func (c *Cache) Get(ctx context.Context, key string) ([]byte, bool) {
	if c.paused() || web.Mutated("cache") {
		c.metrics.answered(failure)
		return nil, false
	}
	value, err := c.client.Get(ctx, c.prefix+key).Bytes()
	if errors.Is(err, redis.Nil) {
		c.metrics.answered(miss)
		return nil, false
	}
	if !c.worked(err) {
		c.metrics.answered(failure)
		return nil, false
	}
	c.metrics.answered(hit)
	return value, true
}

// Set keeps a value for a time.
func (c *Cache) Set(ctx context.Context, key string, value []byte, keep time.Duration) {
	if !c.paused() {
		c.worked(c.client.Set(ctx, c.prefix+key, value, keep).Err())
	}
}

// Remember answers from the cache, or computes and keeps the answer.
func (c *Cache) Remember(ctx context.Context, key string, keep time.Duration, compute func(context.Context) ([]byte, error)) ([]byte, error) {
	if value, found := c.Get(ctx, key); found {
		return value, nil
	}
	value, err := compute(ctx)
	if err == nil {
		c.Set(ctx, key, value, keep)
	}
	return value, err
}

func (c *Cache) paused() bool { return time.Now().UnixNano() < c.retryAt.Load() }

func (c *Cache) worked(err error) bool {
	if err == nil {
		return true
	}
	if !errors.Is(err, context.Canceled) {
		c.retryAt.Store(time.Now().Add(pause).UnixNano())
		slog.Warn("redis is left alone for a moment", "error", err)
	}
	return false
}
