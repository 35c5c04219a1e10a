package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tars-ai/tars/services/internal/web"
)

// scrapeTimeout is for the questions to the database that a scrape asks.
const scrapeTimeout = time.Second

var (
	upMetric          = prometheus.NewDesc("database_up", "1 if the database answers.", nil, nil)
	connectionsMetric = prometheus.NewDesc("database_connections", "Connections of the pool, by state.", []string{"state"}, nil)
	limitMetric       = prometheus.NewDesc("database_connections_max", "Connections that the pool may open.", nil, nil)
	scansMetric       = prometheus.NewDesc("database_index_scans_total", "Scans of a valid index, by the database's own count.", []string{"index"}, nil)
	rowsMetric        = prometheus.NewDesc("database_table_rows", "Rows of a table, by the database's own estimate.", []string{"table"}, nil)
)

// Describe implements prometheus.Collector.
func (l *Later) Describe(descriptions chan<- *prometheus.Desc) {
	for _, each := range []*prometheus.Desc{upMetric, connectionsMetric, limitMetric, scansMetric, rowsMetric} {
		descriptions <- each
	}
}

// Collect implements prometheus.Collector. A database that does not answer is
// a database_up of 0 and nothing else.
func (l *Later) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(description *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
	}
	s := l.Get()
	if s == nil || web.Mutated("database") {
		gauge(upMetric, 0)
		return
	}
	stat := s.pool.Stat()
	gauge(connectionsMetric, float64(stat.IdleConns()), "idle")
	gauge(connectionsMetric, float64(stat.AcquiredConns()), "used")
	gauge(limitMetric, float64(stat.MaxConns()))
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	scans, err := countsByName(ctx, s, `SELECT c.relname, coalesce(pg_stat_get_numscans(i.indexrelid), 0)
		FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		WHERE i.indisvalid AND i.indisready AND c.relname LIKE 'idx\_%'`)
	if err == nil {
		for name, count := range scans {
			metrics <- prometheus.MustNewConstMetric(scansMetric, prometheus.CounterValue, float64(count), name)
		}
		var rows map[string]int64
		rows, err = countsByName(ctx, s, `SELECT relname, n_live_tup FROM pg_stat_user_tables
			WHERE relname IN ('missions', 'evaluations', 'traces')`)
		for name, count := range rows {
			gauge(rowsMetric, float64(count), name)
		}
	}
	if err != nil {
		gauge(upMetric, 0)
		return
	}
	gauge(upMetric, 1)
}

func countsByName(ctx context.Context, s *Store, query string) (map[string]int64, error) {
	rows, err := s.pool.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	var name string
	var count int64
	_, err = pgx.ForEachRow(rows, []any{&name, &count}, func() error {
		counts[name] = count
		return nil
	})
	return counts, err
}
