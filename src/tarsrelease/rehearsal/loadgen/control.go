package main

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// control is the HTTP interface over which a rehearsal reads the counts and
// changes the rate.
func control(c *counts, p *pace) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) {
		r := c.snapshot()
		r.Rate = p.get()
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(r); err != nil {
			fmt.Fprintln(logOutput, "the report was not read to its end:", err)
		}
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		c.reset()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /rate", func(w http.ResponseWriter, r *http.Request) {
		var wanted struct {
			Rate *float64 `json:"rate"`
		}
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1024)).Decode(&wanted)
		if err != nil || wanted.Rate == nil || !(*wanted.Rate >= 0 && *wanted.Rate <= maxRate) {
			http.Error(w, fmt.Sprintf(`expected {"rate": N} with N from 0 to %d`, maxRate), http.StatusBadRequest)
			return
		}
		p.set(*wanted.Rate)
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}
