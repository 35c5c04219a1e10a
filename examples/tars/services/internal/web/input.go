package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

const maxBody = 1 << 16

// ID reads the path's {id}. A wrong one has been answered with 400 when ok is
// false.
func ID(w http.ResponseWriter, r *http.Request, of string) (id int64, ok bool) {
	text := r.PathValue("id")
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		WriteError(w, http.StatusBadRequest, fmt.Sprintf("%s is %q, expected its number", of, text))
		return 0, false
	}
	return id, true
}

// ReadJSON reads a request's body into a value. A wrong one has been answered
// with 400 when it returns false.
func ReadJSON(w http.ResponseWriter, r *http.Request, value any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		WriteError(w, http.StatusBadRequest, "the body could not be read: "+err.Error())
		return false
	}
	return true
}
