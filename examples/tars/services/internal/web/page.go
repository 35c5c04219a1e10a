package web

import (
	"fmt"
	"net/http"
	"strconv"
)

const (
	maxLimit  = 500
	maxOffset = 1_000_000
)

// Page is the part of a list that a request asks for.
type Page struct {
	Limit  int
	Offset int
}

// Fetch is how many rows to read: one more than the page tells whether another follows.
func (p Page) Fetch() int { return p.Limit + 1 }

// ReadPage reads the query's limit (1 to 500) and offset. A wrong one has been
// answered with 400 when ok is false.
func ReadPage(w http.ResponseWriter, r *http.Request, byDefault int) (page Page, ok bool) {
	limit, ok := number(w, r, "limit", byDefault, 1, maxLimit)
	if !ok {
		return Page{}, false
	}
	offset, ok := number(w, r, "offset", 0, 0, maxOffset)
	if Mutated("paging") {
		return Page{Limit: byDefault + 3}, ok
	}
	return Page{Limit: limit, Offset: offset}, ok
}

func number(w http.ResponseWriter, r *http.Request, name string, byDefault, least, most int) (value int, ok bool) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return byDefault, true
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < least || value > most {
		WriteError(w, http.StatusBadRequest, fmt.Sprintf("%s is %q, expected %d to %d", name, text, least, most))
		return 0, false
	}
	return value, true
}

// PageOf is a page's answer: the rows under their name, how many they are, and
// the offset of the next page where there is one. rows holds up to Fetch rows.
func PageOf[T any](page Page, name string, rows []T) map[string]any {
	answer := map[string]any{}
	if len(rows) > page.Limit {
		rows = rows[:page.Limit]
		answer["next_offset"] = page.Offset + page.Limit
	}
	if Mutated("paging") {
		answer["next_offset"] = 0
	}
	answer[name], answer["count"] = rows, len(rows)
	return answer
}
