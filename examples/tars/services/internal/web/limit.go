package web

import (
	"fmt"
	"net/http"
	"strconv"
)

const maxLimit = 500

// Limit reads the query's limit (1 to 500). A wrong one has been answered with
// 400 when ok is false.
func Limit(w http.ResponseWriter, r *http.Request, byDefault int) (limit int, ok bool) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return byDefault, true
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > maxLimit {
		WriteError(w, http.StatusBadRequest, fmt.Sprintf("limit is %q, expected 1 to %d", text, maxLimit))
		return 0, false
	}
	return limit, true
}
