// Package store is the services' PostgreSQL: a pool, tables that appear on the
// first start, and the queries. It takes the standard PG* variables.
package store

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tars-ai/tars/services/internal/release"
)

//go:embed schema.sql
var schema string

// schemaLock keeps two replicas from creating the tables at once. Any number
// does as long as nothing else in this database uses it.
const schemaLock = 0x54415253 // "TARS"

// retryPause lies between two attempts to reach the database or to get the lock.
const retryPause = 250 * time.Millisecond

// Store answers the services' questions about missions, evaluations and traces.
type Store struct {
	pool    *pgxpool.Pool
	release release.Release
}

// Connect opens a pool and makes sure of the tables, once.
func Connect(ctx context.Context, rel release.Release, maxConnections int32) (*Store, error) {
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, fmt.Errorf("read the PG* variables: %w", err)
	}
	config.MaxConns = maxConnections
	config.MinIdleConns = 1
	config.ConnConfig.ConnectTimeout = 3 * time.Second
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("prepare the connection pool: %w", err)
	}
	if err := createTables(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return &Store{pool: pool, release: rel}, nil
}

// Close lets the connections go.
func (s *Store) Close() { s.pool.Close() }

// createTables creates and fills the tables unless they exist. The lock is
// tried, not waited for: a session that waits for an advisory lock blocks
// CREATE INDEX CONCURRENTLY.
func createTables(ctx context.Context, pool *pgxpool.Pool) error {
	for {
		done, err := createTablesOnce(ctx, pool)
		if err != nil {
			return fmt.Errorf("create the tables: %w", err)
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryPause):
		}
	}
}

func createTablesOnce(ctx context.Context, pool *pgxpool.Pool) (done bool, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var exist, locked bool
		const tables = `SELECT to_regclass('missions') IS NOT NULL AND to_regclass('evaluations') IS NOT NULL AND to_regclass('traces') IS NOT NULL`
		if err := tx.QueryRow(ctx, tables).Scan(&exist); err != nil || exist {
			done = exist
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1)`, schemaLock).Scan(&locked); err != nil || !locked {
			return err
		}
		// Another replica may have finished between the first look and the lock.
		if err := tx.QueryRow(ctx, tables).Scan(&exist); err != nil || exist {
			done = exist
			return err
		}
		slog.Info("creating the tables")
		_, err := tx.Exec(ctx, schema, pgx.QueryExecModeSimpleProtocol)
		done = err == nil
		return err
	})
	return done, err
}

// Later is a store that may not be there yet.
type Later struct {
	store atomic.Pointer[Store]
}

// Open goes on trying to connect in the background until it works or ctx ends.
func Open(ctx context.Context, rel release.Release, maxConnections int32) *Later {
	later := &Later{}
	go func() {
		for ctx.Err() == nil {
			s, err := Connect(ctx, rel, maxConnections)
			if err == nil {
				later.store.Store(s)
				slog.Info("the database is there")
				return
			}
			slog.Warn("waiting for the database", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(retryPause):
			}
		}
	}()
	return later
}

// Get is the store, or nil as long as the database has not been reached.
func (l *Later) Get() *Store { return l.store.Load() }

// Ready reports whether the database has been reached.
func (l *Later) Ready() bool { return l.Get() != nil }

// Close lets the connections go.
func (l *Later) Close() {
	if s := l.Get(); s != nil {
		s.Close()
	}
}
