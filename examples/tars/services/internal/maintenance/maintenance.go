// Package maintenance is the database's regular housekeeping, a job that ends.
package maintenance

import (
	"context"
	"log/slog"
	"time"

	"github.com/tars-ai/tars/services/internal/release"
	"github.com/tars-ai/tars/services/internal/settings"
	"github.com/tars-ai/tars/services/internal/store"
)

// Run drops traces older than TARS_TRACE_DAYS (30) and vacuums the tables.
func Run(ctx context.Context, rel release.Release) error {
	days, err := settings.Number("TARS_TRACE_DAYS", 30)
	if err != nil {
		return err
	}
	s, err := store.Connect(ctx, rel, 1)
	if err != nil {
		return err
	}
	defer s.Close()
	dropped, err := s.Maintain(ctx, time.Duration(days*24*float64(time.Hour)))
	if err != nil {
		return err
	}
	slog.Info("the database is tidy", "traces_dropped", dropped)
	return nil
}
