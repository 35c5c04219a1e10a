// Package release says which version a binary was built as and which hotfixes
// that version carries. It is the one place that ties a defect to a version.
package release

import "golang.org/x/mod/semver"

// version is set when the binary is linked:
// -ldflags "-X github.com/tars-ai/tars/services/internal/release.version=1.0.1".
var version = "0.0.0"

// Hotfix is a repaired defect and the first version that carries the repair.
type Hotfix struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Since string `json:"since"`
}

// The ids of the hotfixes, as release notes and manifests name them.
const (
	WebSocketReconnection = "TARS-1001"
	EvaluationDashboard   = "TARS-1002"
	MissionsQuery         = "TARS-1003"
	TraceCoverage         = "TARS-1004"
	PPOMemory             = "TARS-1005"
)

var hotfixes = []Hotfix{
	{WebSocketReconnection, "WebSocket sessions reconnect", "1.0.1"},
	{EvaluationDashboard, "Grafana evaluation dashboard loads within 3 s", "1.0.1"},
	{MissionsQuery, "Missions query uses its index", "1.0.1"},
	{TraceCoverage, "Every trace carries a span id", "1.0.1"},
	{PPOMemory, "PPO agent releases finished rollouts", "1.0.1"},
}

// Release is one version of T.A.R.S.; the zero value carries no hotfix.
type Release struct {
	Version string
}

// Current is the release this binary was built as.
func Current() Release { return Release{Version: version} }

// Has reports whether the hotfix with this id is in the release. An unknown id
// is in no release.
func (r Release) Has(id string) bool {
	for _, h := range hotfixes {
		if h.ID == id {
			return semver.Compare("v"+r.Version, "v"+h.Since) >= 0
		}
	}
	return false
}

// Hotfixes lists the hotfixes that are in the release, in order of their ids.
func (r Release) Hotfixes() []Hotfix {
	carried := []Hotfix{}
	for _, h := range hotfixes {
		if r.Has(h.ID) {
			carried = append(carried, h)
		}
	}
	return carried
}
