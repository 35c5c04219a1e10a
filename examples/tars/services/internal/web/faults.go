package web

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// CanaryHeader marks a request that was sent to the canary on purpose (a smoke
// test); faults leave it alone.
const CanaryHeader = "X-Tars-Canary"

// Faults is what a service is asked to do wrong. The zero value is a healthy
// service.
type Faults struct {
	ErrorShare    float64 `json:"error_share"`    // share of requests answered with 500, 0 to 1
	LatencyMS     float64 `json:"latency_ms"`     // added before each request is handled
	MemoryMB      int     `json:"memory_mb"`      // held resident
	Crash         bool    `json:"crash"`          // end the process with status 1
	WebSocketDrop bool    `json:"websocket_drop"` // close open sessions, refuse new ones
	Mutation      string  `json:"mutation"`       // one of Mutations, a defect for the validation suite
}

func (f Faults) check() error {
	switch {
	case !(f.ErrorShare >= 0 && f.ErrorShare <= 1):
		return fmt.Errorf("error_share is %v, expected 0 to 1", f.ErrorShare)
	case !(f.LatencyMS >= 0 && f.LatencyMS <= 60_000):
		return fmt.Errorf("latency_ms is %v, expected 0 to 60000", f.LatencyMS)
	case f.MemoryMB < 0 || f.MemoryMB > 65_536:
		return fmt.Errorf("memory_mb is %d, expected 0 to 65536", f.MemoryMB)
	case !isMutation(f.Mutation):
		return fmt.Errorf("mutation is %q, expected one of %v", f.Mutation, Mutations)
	}
	return nil
}

// FaultSwitch holds the active faults. It is inert unless enabled.
type FaultSwitch struct {
	enabled bool
	active  atomic.Pointer[Faults]
	ballast atomic.Pointer[[]byte]
	exit    func(code int)
	changed func(Faults)
}

func newFaultSwitch(enabled bool) *FaultSwitch {
	s := &FaultSwitch{enabled: enabled, exit: os.Exit, changed: func(Faults) {}}
	s.active.Store(&Faults{})
	return s
}

// Active is the faults that hold now.
func (s *FaultSwitch) Active() Faults { return *s.active.Load() }

func (s *FaultSwitch) set(f Faults) {
	s.active.Store(&f)
	setMutation(f.Mutation)
	s.ballast.Store(nil)
	if f.MemoryMB > 0 {
		s.ballast.Store(residentBytes(f.MemoryMB << 20))
	} else {
		debug.FreeOSMemory()
	}
	s.changed(f)
}

// residentBytes allocates and touches every page: memory that was only reserved
// does not count as resident.
func residentBytes(size int) *[]byte {
	block := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		block[i] = 1
	}
	return &block
}

func (s *FaultSwitch) serveHTTP(w http.ResponseWriter, r *http.Request) {
	var f Faults
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		WriteError(w, http.StatusBadRequest, "the faults could not be read: "+err.Error())
		return
	}
	if err := f.check(); err != nil {
		WriteError(w, http.StatusBadRequest, err.Error())
		return
	}
	slog.Warn("faults replaced", "faults", f)
	s.set(f)
	WriteJSON(w, http.StatusOK, f)
	if f.Crash {
		_ = http.NewResponseController(w).Flush() // the process ends either way
		s.exit(1)
	}
}

// apply makes a request suffer; true means that it has been answered.
func (s *FaultSwitch) apply(w http.ResponseWriter, r *http.Request) bool {
	f := s.Active()
	if !s.enabled || r.Header.Get(CanaryHeader) != "" {
		return false
	}
	if f.LatencyMS > 0 {
		select {
		case <-time.After(time.Duration(f.LatencyMS * float64(time.Millisecond))):
		case <-r.Context().Done():
		}
	}
	if f.ErrorShare > 0 && rand.Float64() < f.ErrorShare {
		WriteError(w, http.StatusInternalServerError, "injected fault")
		return true
	}
	return false
}
