package ppo

import "github.com/tars-ai/tars/services/internal/release"

// Sizes in units; a unit is a GB in production and a few MB on a laptop.
const (
	policyUnits   = 0.2
	rolloutUnits  = 1.2
	finishedUnits = 1.15 // a rollout without its last step
	kept          = 2    // finished rollouts that 1.0.0 keeps
)

// buffers is what the agent keeps resident: its policy, the rollout it learns
// from, and (TARS-1005) the finished rollouts of earlier epochs, which 1.0.0
// never lets go of, so that it ends at 3.7 units instead of 1.4.
type buffers struct {
	blocks   [][]byte
	units    float64
	unitSize int
}

func newBuffers(rel release.Release, unitMB float64) *buffers {
	b := &buffers{unitSize: int(unitMB * (1 << 20))}
	b.hold(policyUnits)
	b.hold(rolloutUnits)
	if !rel.Has(release.PPOMemory) {
		for range kept {
			b.hold(finishedUnits)
		}
	}
	return b
}

// hold makes a block of memory resident: each page is written once.
func (b *buffers) hold(units float64) {
	block := make([]byte, int(units*float64(b.unitSize)))
	for i := 0; i < len(block); i += 4096 {
		block[i] = 1
	}
	b.blocks = append(b.blocks, block)
	b.units += units
}
