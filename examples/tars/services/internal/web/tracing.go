package web

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"
)

// traceparent is W3C Trace Context's header, version 00.
var traceparent = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$`)

// continueTrace answers with the caller's trace and a span of its own. A caller
// without a valid trace gets a new one.
func continueTrace(w http.ResponseWriter, r *http.Request) {
	if Mutated("tracing") {
		return
	}
	trace, flags := randomHex(16), "01"
	match := traceparent.FindStringSubmatch(r.Header.Get("Traceparent"))
	if match != nil && strings.Trim(match[1], "0") != "" && strings.Trim(match[2], "0") != "" {
		trace, flags = match[1], match[3]
	}
	w.Header().Set("Traceparent", "00-"+trace+"-"+randomHex(8)+"-"+flags)
}

func randomHex(size int) string {
	id := make([]byte, size)
	_, _ = rand.Read(id) // never fails: the runtime ends the process instead
	return hex.EncodeToString(id)
}
