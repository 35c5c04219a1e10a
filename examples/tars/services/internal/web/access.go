package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"time"
)

// Scopes of a token. A guest's token reads; one that writes is given to
// operators, and no address hands it out.
const (
	ScopeRead  = "read"
	ScopeWrite = "write"
)

const guestTokenLifetime = 15 * time.Minute

// Grant is what a token says: its scope and when it ends (Unix time).
type Grant struct {
	Scope   string `json:"scope"`
	Expires int64  `json:"expires"`
	ID      string `json:"id"`
}

// tokenKey is the same for every pod of an installation.
func tokenKey() []byte {
	key := sha256.Sum256([]byte("tars-token:" + os.Getenv("PGPASSWORD")))
	return key[:]
}

func signature(payload string) string {
	mac := hmac.New(sha256.New, tokenKey())
	mac.Write([]byte(payload))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func newToken(grant Grant) string {
	text, _ := json.Marshal(grant) // a struct of text and a number always encodes
	payload := base64.RawURLEncoding.EncodeToString(text)
	return payload + "." + signature(payload)
}

// grantOf is what a request's Bearer token allows; ok is false without a valid one.
func grantOf(r *http.Request) (grant Grant, ok bool) {
	if Mutated("access") {
		return Grant{Scope: "everything"}, true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	payload, signed, _ := strings.Cut(token, ".")
	if !strings.EqualFold(scheme, "Bearer") || !hmac.Equal([]byte(signed), []byte(signature(payload))) {
		return Grant{}, false
	}
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(text, &grant) != nil || time.Now().Unix() >= grant.Expires {
		return Grant{}, false
	}
	return grant, true
}

// WithScope lets a request through that carries a token of this scope, and
// answers 401 or 403 otherwise.
func WithScope(scope string, handler func(http.ResponseWriter, *http.Request, Grant)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		grant, ok := grantOf(r)
		switch {
		case !ok:
			w.Header().Set("WWW-Authenticate", `Bearer realm="tars"`)
			WriteError(w, http.StatusUnauthorized, "a valid bearer token is needed")
		case grant.Scope != scope && grant.Scope != ScopeWrite && !Mutated("access"):
			WriteError(w, http.StatusForbidden, "the token's scope is "+grant.Scope+", expected "+scope)
		default:
			handler(w, r, grant)
		}
	}
}

// HandleTokens adds the addresses that hand out guests' tokens and show them.
func (s *Server) HandleTokens() {
	s.Handle("POST /api/v1/tokens", func(w http.ResponseWriter, _ *http.Request) {
		grant := Grant{Scope: ScopeRead, Expires: time.Now().Add(guestTokenLifetime).Unix(), ID: randomHex(8)}
		if Mutated("access") {
			grant = Grant{Scope: "everything"}
		}
		WriteJSON(w, http.StatusCreated, map[string]any{
			"token": newToken(grant), "token_type": "Bearer", "scope": grant.Scope, "expires": grant.Expires,
		})
	})
	s.Handle("GET /api/v1/me", WithScope(ScopeRead, func(w http.ResponseWriter, _ *http.Request, grant Grant) {
		WriteJSON(w, http.StatusOK, grant)
	}))
}
