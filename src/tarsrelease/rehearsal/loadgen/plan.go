package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// aim is one kind of request and how many of it a second.
type aim struct {
	Host string  `json:"host"`
	Path string  `json:"path"`
	Rate float64 `json:"rate"`
}

// readPlan takes a plan as JSON text or as the name of a file that holds it.
func readPlan(textOrFile string) ([]aim, error) {
	text := []byte(textOrFile)
	if !strings.HasPrefix(strings.TrimSpace(textOrFile), "[") {
		var err error
		if text, err = os.ReadFile(textOrFile); err != nil {
			return nil, fmt.Errorf("read the plan: %w", err)
		}
	}
	var plan []aim
	if err := json.Unmarshal(text, &plan); err != nil {
		return nil, fmt.Errorf("the plan is not a JSON list of {host, path, rate}: %w", err)
	}
	if len(plan) == 0 {
		return nil, errors.New("the plan is empty, expected a JSON list of {host, path, rate}")
	}
	for _, a := range plan {
		if a.Host == "" || !strings.HasPrefix(a.Path, "/") || !(a.Rate > 0 && a.Rate <= maxRate) {
			return nil, fmt.Errorf("the plan's %+v needs a host, a path that begins with / and a rate above 0 and at most %d", a, maxRate)
		}
	}
	return plan, nil
}

func totalRate(plan []aim) float64 {
	total := 0.0
	for _, a := range plan {
		total += a.Rate
	}
	return total
}

// picker deals out aims in the proportion of their rates, evenly spread: each
// draw goes to the aim that is furthest behind its share (smooth weighted
// round-robin), so that short windows hold the right mixture too.
type picker struct {
	plan   []aim
	total  float64
	credit []float64
}

func newPicker(plan []aim) *picker {
	return &picker{plan: plan, total: totalRate(plan), credit: make([]float64, len(plan))}
}

func (p *picker) next() int {
	best := 0
	for i := range p.plan {
		p.credit[i] += p.plan[i].Rate
		if p.credit[i] > p.credit[best] {
			best = i
		}
	}
	p.credit[best] -= p.total
	return best
}
