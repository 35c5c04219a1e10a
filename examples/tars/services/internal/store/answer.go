package store

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/tars-ai/tars/services/internal/cache"
	"github.com/tars-ai/tars/services/internal/web"
)

var errNotThere = errors.New("the database has not been reached yet")

// Answer serves what a question to the store gives, as JSON. With a key, the
// encoded answer is kept in the cache for a moment.
func Answer[T any](w http.ResponseWriter, r *http.Request, later *Later, hot *cache.Cache, key string, keep time.Duration, ask func(context.Context, *Store) (T, error)) {
	compute := func(ctx context.Context) ([]byte, error) {
		s := later.Get()
		if s == nil || web.Mutated("database") {
			return nil, errNotThere
		}
		value, err := ask(ctx, s)
		if err != nil {
			return nil, err
		}
		return json.Marshal(value)
	}
	var body []byte
	var err error
	if key == "" {
		body, err = compute(r.Context())
	} else {
		body, err = hot.Remember(r.Context(), key, keep, compute)
	}
	if errors.Is(err, ErrNoRow) {
		web.WriteError(w, http.StatusNotFound, err.Error())
		return
	}
	if err != nil {
		web.WriteUnavailable(w, r, err)
		return
	}
	web.WriteBody(w, http.StatusOK, "application/json", body)
}
