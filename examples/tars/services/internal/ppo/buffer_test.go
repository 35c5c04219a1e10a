package ppo

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/tars-ai/tars/services/internal/release"
)

func TestSizeByVersion(t *testing.T) {
	const unitMB = 32
	for version, units := range map[string]float64{"1.0.0": 3.7, "1.0.1": 1.4} {
		debug.FreeOSMemory() // what the other version held is not to be reused
		before, err := residentBytes()
		if err != nil {
			t.Fatal(err)
		}
		held := newBuffers(release.Release{Version: version}, unitMB, 0)
		after, err := residentBytes()
		if err != nil {
			t.Fatal(err)
		}
		want := units * unitMB * (1 << 20)
		if math.Abs(float64(held.size())-want) > 1<<10 {
			t.Errorf("%s holds %d bytes, want %.0f", version, held.size(), want)
		}
		if grown := float64(after - before); grown < 0.9*want {
			t.Errorf("%s: only %.0f of %.0f bytes are resident", version, grown, want)
		}
		runtime.KeepAlive(held)
	}
}

func TestWhatTheProgramHoldsIsPartOfTheSize(t *testing.T) {
	rel := release.Release{Version: "1.0.1"}
	if got := newBuffers(rel, 10, 4<<20).size(); got != 10<<20 {
		t.Errorf("holds %d bytes, want 10 MiB", got)
	}
	if got := newBuffers(rel, 1, 50<<20).size(); got != 0 {
		t.Errorf("holds %d bytes, want none: the program alone is larger", got)
	}
}
