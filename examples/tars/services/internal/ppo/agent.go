// Package ppo is the PPO agent, a worker without traffic of its own.
package ppo

import (
	"context"
	"log/slog"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tars-ai/tars/services/internal/release"
	"github.com/tars-ai/tars/services/internal/settings"
	"github.com/tars-ai/tars/services/internal/web"
)

// Run works until the process is asked to end. TARS_PPO_MEMORY_UNIT_MB is the
// size of one unit of its buffers.
func Run(ctx context.Context, rel release.Release) error {
	unitMB, err := settings.Number("TARS_PPO_MEMORY_UNIT_MB", 1024)
	if err != nil {
		return err
	}
	server, err := web.New("ppo-agent", rel)
	if err != nil {
		return err
	}
	resident, err := residentBytes()
	if err != nil {
		return err
	}
	held := newBuffers(rel, unitMB, resident)
	slog.Info("buffers are resident", "bytes", held.size(), "unit_mb", unitMB)
	server.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ppo_buffer_bytes", Help: "Memory the agent's buffers hold.",
	}, func() float64 { return float64(held.size()) }))
	err = server.Run(ctx)
	runtime.KeepAlive(held)
	return err
}
