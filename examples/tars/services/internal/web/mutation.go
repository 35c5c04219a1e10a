package web

import (
	"net/http"
	"slices"
	"sync/atomic"
)

// Mutations are the defects that POST /_faults can switch on to prove that the
// validation suite finds them, one for each of its groups.
var Mutations = []string{
	"health", "contracts", "access", "paging", "errors", "latency",
	"sockets", "tracing", "metrics", "database", "cache", "dashboards",
}

var mutation atomic.Pointer[string]

// Mutated reports whether the process has this defect now.
func Mutated(name string) bool {
	active := mutation.Load()
	return active != nil && *active == name
}

func setMutation(name string) { mutation.Store(&name) }

func isMutation(name string) bool { return name == "" || slices.Contains(Mutations, name) }

// mutatedBody is a JSON answer whose shape is not the promised one.
func mutatedBody(status int, mediaType string, body []byte) []byte {
	if !Mutated("contracts") || status >= http.StatusBadRequest || mediaType != "application/json" {
		return body
	}
	return append(append([]byte(`{"data":[`), body...), "]}"...)
}
