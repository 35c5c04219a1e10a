package ppo

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/tars-ai/tars/services/internal/release"
)

// Sizes in units of the whole process; a unit is a GB in production and a few
// MB on a laptop.
const (
	workingUnits  = 1.4  // the policy and the rollout it learns from
	finishedUnits = 1.15 // a finished rollout
	kept          = 2    // finished rollouts that 1.0.0 keeps
)

// buffers is what the agent keeps resident: what it works with and (TARS-1005)
// the finished rollouts of earlier epochs, which 1.0.0 never lets go of, so
// that it stands at 3.7 units instead of 1.4.
type buffers struct {
	blocks [][]byte
}

// newBuffers fills the process up to its size. resident is what it held before,
// in bytes: with a small unit, the program itself is a good part of it.
func newBuffers(rel release.Release, unitMB float64, resident int) *buffers {
	unit := unitMB * (1 << 20)
	b := &buffers{}
	b.hold(int(workingUnits*unit) - resident)
	if !rel.Has(release.PPOMemory) {
		for range kept {
			b.hold(int(finishedUnits * unit))
		}
	}
	return b
}

// size is what the buffers hold, in bytes.
func (b *buffers) size() int {
	total := 0
	for _, block := range b.blocks {
		total += len(block)
	}
	return total
}

// hold makes memory resident: each page is written once.
func (b *buffers) hold(size int) {
	block := make([]byte, max(0, size))
	for i := 0; i < len(block); i += 4096 {
		block[i] = 1
	}
	b.blocks = append(b.blocks, block)
}

// residentBytes is the process' resident memory (proc(5), statm's second field).
func residentBytes() (int, error) {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("read the resident memory: %w", err)
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0, fmt.Errorf("read the resident memory: statm is %q", statm)
	}
	pages, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0, fmt.Errorf("read the resident memory: %w", err)
	}
	return pages * os.Getpagesize(), nil
}
