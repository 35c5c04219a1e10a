// Command tars is every service of T.A.R.S.; the first argument says which.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/tars-ai/tars/services/internal/dashboard"
	"github.com/tars-ai/tars/services/internal/insight"
	"github.com/tars-ai/tars/services/internal/maintenance"
	"github.com/tars-ai/tars/services/internal/orchestration"
	"github.com/tars-ai/tars/services/internal/ppo"
	"github.com/tars-ai/tars/services/internal/release"
)

var commands = map[string]func(context.Context, release.Release) error{
	"orchestration-agent": orchestration.Run,
	"insight-engine":      insight.Run,
	"dashboard-api":       dashboard.Run,
	"ppo-agent":           ppo.Run,
	"db-maintenance":      maintenance.Run,
}

func main() {
	rel := release.Current()
	if len(os.Args) == 2 && os.Args[1] == "version" {
		fmt.Println(rel.Version)
		return
	}
	if len(os.Args) != 2 || commands[os.Args[1]] == nil {
		names := slices.Sorted(maps.Keys(commands))
		fmt.Fprintf(os.Stderr, "usage: tars version|%s\n", strings.Join(names, "|"))
		os.Exit(2)
	}
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	if err := commands[os.Args[1]](context.Background(), rel); err != nil {
		slog.Error("ended", "command", os.Args[1], "error", err)
		os.Exit(1)
	}
}
