package images

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

var stock = []Entry{
	{Name: "ghcr.io/tars-ai/api", Tag: "v1.0.0", Digest: "sha256:aa", Command: []string{"/bin/tars", "api"}},
	{Name: "ghcr.io/tars-ai/api", Tag: "v1.0.1", Digest: "sha256:bb", Command: []string{"/bin/tars", "api"}},
	{Name: "registry:5000/plain", Tag: "latest", Command: []string{"/bin/plain"}},
}

func TestMatch(t *testing.T) {
	cases := []struct {
		reference, digest string
		err               error
	}{
		{"ghcr.io/tars-ai/api:v1.0.0", "sha256:aa", nil},
		{"ghcr.io/tars-ai/api:v1.0.1", "sha256:bb", nil},
		{"ghcr.io/tars-ai/api@sha256:bb", "sha256:bb", nil},
		{"ghcr.io/tars-ai/api:v1.0.0@sha256:bb", "sha256:bb", nil},
		{"registry:5000/plain", "", nil},
		{"ghcr.io/tars-ai/api:v1.0.1@sha256:cc", "", ErrNotFound},
		{"ghcr.io/tars-ai/api", "", ErrNotFound},
		{"ghcr.io/other/api:v1.0.0", "", ErrNotFound},
		{"ghcr.io/tars-ai/api:", "", ErrInvalidName},
		{"ghcr.io/tars-ai/api@nothash", "", ErrInvalidName},
		{"", "", ErrInvalidName},
	}
	for _, c := range cases {
		entry, err := Match(stock, c.reference)
		if !errors.Is(err, c.err) || entry.Digest != c.digest {
			t.Errorf("Match(%q) = %q, %v; want %q, %v", c.reference, entry.Digest, err, c.digest, c.err)
		}
	}
}

func TestArguments(t *testing.T) {
	entry := stock[0]
	cases := []struct{ command, args, want []string }{
		{nil, nil, []string{"/bin/tars", "api"}},
		{nil, []string{"ppo-agent"}, []string{"/bin/tars", "ppo-agent"}},
		{[]string{"sh"}, nil, []string{"sh"}},
		{[]string{"sh"}, []string{"-c", "true"}, []string{"sh", "-c", "true"}},
	}
	for _, c := range cases {
		if got := entry.Arguments(c.command, c.args); !reflect.DeepEqual(got, c.want) {
			t.Errorf("Arguments(%v, %v) = %v, want %v", c.command, c.args, got, c.want)
		}
	}
}

func TestFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "images.json")
	file := Open(path)
	if _, err := file.Lookup("a:1"); err == nil {
		t.Fatal("a missing file must be an error")
	}
	write := func(text string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"images":[{"name":"a","tag":"1","command":["x"]}]}`, time.Unix(1000, 0))
	if _, err := file.Lookup("a:1"); err != nil {
		t.Fatal(err)
	}
	write(`{"images":[{"name":"a","tag":"2","command":["x"]}]}`, time.Unix(2000, 0))
	if _, err := file.Lookup("a:2"); err != nil {
		t.Fatal(err)
	}
	write(`{"images":[{"na`, time.Unix(3000, 0))
	if _, err := file.Lookup("a:2"); err != nil {
		t.Errorf("a file caught half-written took the images away: %v", err)
	}
}
