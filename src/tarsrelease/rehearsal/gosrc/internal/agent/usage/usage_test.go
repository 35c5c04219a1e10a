package usage

import (
	"testing"
	"time"

	"tarsrelease/rehearsal/internal/agent/process"
)

func TestCoresAreTheMeanOverTheWindow(t *testing.T) {
	began := time.Unix(1000, 0)
	var history []process.Usage
	for second := range 40 { // half a core all along
		history = appended(history, process.Usage{
			At: began.Add(time.Duration(second) * time.Second), MemoryBytes: int64(second),
			CPU: time.Duration(second) * 500 * time.Millisecond,
		})
	}
	reading, ok := summarise(history)
	if !ok || reading.Cores != 0.5 || reading.Window != window || reading.MemoryBytes != 39 {
		t.Errorf("reading %+v", reading)
	}
}

func TestOneReadingHasNoRate(t *testing.T) {
	if _, ok := summarise(nil); ok {
		t.Error("no reading must be no answer")
	}
	reading, ok := summarise([]process.Usage{{MemoryBytes: 5}})
	if !ok || reading.Window != 0 || reading.MemoryBytes != 5 {
		t.Errorf("reading %+v", reading)
	}
}

func TestNodeIsMeasured(t *testing.T) {
	usage, err := readNode()
	if err != nil || usage.MemoryBytes <= 0 || usage.CPU <= 0 {
		t.Errorf("%+v, %v", usage, err)
	}
}
