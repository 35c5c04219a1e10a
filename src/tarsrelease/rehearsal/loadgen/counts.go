package main

import (
	"maps"
	"math"
	"strconv"
	"sync"
	"time"
)

// Latencies are counted in buckets that grow by 2 %, from 10 µs to over two
// minutes, so a percentile is right to 2 % whatever its size.
const (
	bucketGrowth   = 1.02
	smallestBucket = 10 * time.Microsecond
	buckets        = 850
)

var logGrowth = math.Log(bucketGrowth)

// tally is what came of the requests to one aim, or to all.
type tally struct {
	Sent     int64 `json:"sent"`
	Answered int64 `json:"answered"`
	Lost     int64 `json:"lost"`
	Failed   int64 `json:"failed"` // answered with a 5xx
	Good     int64 `json:"good"`   // answered with a 2xx
}

// webSockets is what came of the WebSocket sessions.
type webSockets struct {
	Open       int64 `json:"open"`
	Opened     int64 `json:"opened"`
	Reconnects int64 `json:"reconnects"`
	Failed     int64 `json:"failed"`
}

// report is the answer of GET /report. A request is lost when no complete HTTP
// answer came; it is in flight when neither answered nor lost yet.
type report struct {
	StartedAt    time.Time        `json:"started_at"`
	Rate         float64          `json:"rate"`
	Sent         int64            `json:"sent"`
	Answered     int64            `json:"answered"`
	Lost         int64            `json:"lost"`
	InFlight     int64            `json:"in_flight"`
	ByStatus     map[string]int64 `json:"by_status"`
	ByVersion    map[string]int64 `json:"by_version"`
	ByDeployment map[string]int64 `json:"by_deployment"`
	ByPath       map[string]tally `json:"by_path"`
	Problems     map[string]int64 `json:"problems"`
	P50          float64          `json:"p50_ms"`
	P95          float64          `json:"p95_ms"`
	P99          float64          `json:"p99_ms"`
	Slowest      float64          `json:"slowest_ms"`
	WebSockets   webSockets       `json:"websockets"`
}

// outcome is what one request came to; problem is set where it was lost.
type outcome struct {
	path, version, deployment string
	status                    int
	took                      time.Duration
	problem                   string
}

// counts gathers outcomes. An epoch ends with each reset; the outcome of a
// request of an earlier epoch is not counted.
type counts struct {
	mu        sync.Mutex
	epoch     int
	report    report
	latencies [buckets]int64
}

func newCounts() *counts {
	c := &counts{}
	c.reset()
	return c
}

// reset starts anew. WebSocket sessions that are open stay open.
func (c *counts) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.report = report{
		StartedAt: time.Now().UTC(),
		ByStatus:  map[string]int64{}, ByVersion: map[string]int64{}, ByDeployment: map[string]int64{},
		ByPath: map[string]tally{}, Problems: map[string]int64{},
		WebSockets: webSockets{Open: c.report.WebSockets.Open},
	}
	c.latencies = [buckets]int64{}
}

// sending counts a request as sent and gives the epoch it belongs to.
func (c *counts) sending(path string) (epoch int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Sent++
	t := c.report.ByPath[path]
	t.Sent++
	c.report.ByPath[path] = t
	return c.epoch
}

func (c *counts) ended(epoch int, o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return
	}
	t := c.report.ByPath[o.path]
	if o.problem != "" {
		c.report.Lost++
		c.report.Problems[o.problem]++
		t.Lost++
	} else {
		c.report.Answered++
		c.report.ByStatus[strconv.Itoa(o.status)]++
		c.report.ByVersion[orUnknown(o.version)]++
		c.report.ByDeployment[orUnknown(o.deployment)]++
		c.latencies[bucketOf(o.took)]++
		c.report.Slowest = max(c.report.Slowest, milliseconds(o.took))
		t.Answered++
		if o.status >= 500 {
			t.Failed++
		}
		if o.status/100 == 2 {
			t.Good++
		}
	}
	c.report.ByPath[o.path] = t
}

// session changes the WebSocket counts.
func (c *counts) session(change func(*webSockets)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.report.WebSockets)
}

func (c *counts) snapshot() report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.report
	r.InFlight = r.Sent - r.Answered - r.Lost
	r.ByStatus, r.ByVersion, r.ByDeployment = maps.Clone(r.ByStatus), maps.Clone(r.ByVersion), maps.Clone(r.ByDeployment)
	r.ByPath, r.Problems = maps.Clone(r.ByPath), maps.Clone(r.Problems)
	r.P50, r.P95, r.P99 = c.percentile(0.50), c.percentile(0.95), c.percentile(0.99)
	return r
}

// percentile is the upper bound, in ms, of the bucket that holds it; 0 before
// the first answer.
func (c *counts) percentile(share float64) float64 {
	wanted := int64(math.Ceil(share * float64(c.report.Answered)))
	if wanted == 0 {
		return 0
	}
	seen := int64(0)
	for i, n := range c.latencies {
		if seen += n; seen >= wanted {
			bound := time.Duration(float64(smallestBucket) * math.Pow(bucketGrowth, float64(i)))
			return min(milliseconds(bound), c.report.Slowest)
		}
	}
	return c.report.Slowest
}

func bucketOf(took time.Duration) int {
	if took <= smallestBucket {
		return 0
	}
	index := int(math.Ceil(math.Log(float64(took)/float64(smallestBucket)) / logGrowth))
	return min(index, buckets-1)
}

func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}

func orUnknown(header string) string {
	if header == "" {
		return "unknown"
	}
	return header
}
