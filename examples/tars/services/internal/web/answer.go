package web

import (
	"encoding/json"
	"log/slog"
	"net/http"
)

// WriteJSON answers with a value as JSON.
func WriteJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		slog.Error("an answer could not be encoded", "error", err)
		WriteError(w, http.StatusInternalServerError, "the answer could not be encoded")
		return
	}
	WriteBody(w, status, "application/json", body)
}

// WriteBody answers with bytes of a media type.
func WriteBody(w http.ResponseWriter, status int, mediaType string, body []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	if _, err := w.Write(mutatedBody(status, mediaType, body)); err != nil {
		slog.Debug("the client went away", "error", err)
	}
}

// WriteError answers with {"error": message}.
func WriteError(w http.ResponseWriter, status int, message string) {
	if Mutated("errors") {
		WriteBody(w, http.StatusInternalServerError, "text/plain; charset=utf-8", []byte("panic: "+message))
		return
	}
	WriteJSON(w, status, map[string]string{"error": message})
}

// clientClosedRequest is nginx's and Traefik's word for a client that went away
// before its answer: not the server's failure.
const clientClosedRequest = 499

// WriteUnavailable answers a request that could not be served because something
// behind the service failed.
func WriteUnavailable(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		WriteError(w, clientClosedRequest, "the client went away")
		return
	}
	slog.Error("a request could not be served", "path", r.URL.Path, "error", err)
	WriteError(w, http.StatusServiceUnavailable, "the database did not answer")
}

// recorder remembers an answer's status. The moment a connection is upgraded
// the request is over for its counters: the session that follows is not the
// request's duration.
type recorder struct {
	http.ResponseWriter
	status   int
	upgraded func()
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
		if status == http.StatusSwitchingProtocols {
			r.upgraded()
		}
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(body []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(body)
}

// Unwrap lets http.ResponseController and the WebSocket library reach the
// connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
