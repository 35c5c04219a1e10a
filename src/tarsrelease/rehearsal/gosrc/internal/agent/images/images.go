// Package images answers which local command stands for a container image.
//
// The answers come from a JSON file ("images": name, tag, digest, command,
// env) that whoever packs the images writes; it is read again when it changes.
package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// ErrNotFound says that no entry of the file matches the reference.
var ErrNotFound = errors.New("not found in the image file")

// ErrInvalidName says that the reference cannot be read as an image name.
var ErrInvalidName = errors.New("invalid image name")

// Entry is one image of the file.
type Entry struct {
	Name    string            `json:"name"`
	Tag     string            `json:"tag"`
	Digest  string            `json:"digest"`
	Command []string          `json:"command"`
	Env     map[string]string `json:"env"`
}

// ID is what a container status reports as imageID: name@digest, or name:tag
// for an entry without a digest.
func (e Entry) ID() string {
	if e.Digest != "" {
		return e.Name + "@" + e.Digest
	}
	return e.Name + ":" + e.Tag
}

// Arguments is the argument vector of a container of this image: its command
// replaces the entry's; its args alone replace what follows the entry's first
// element.
func (e Entry) Arguments(command, args []string) []string {
	switch {
	case len(command) > 0:
		return append(append([]string{}, command...), args...)
	case len(args) > 0 && len(e.Command) > 0:
		return append([]string{e.Command[0]}, args...)
	default:
		return append([]string{}, e.Command...)
	}
}

// Reference is an image reference taken apart; Tag and Digest may be empty.
type Reference struct{ Name, Tag, Digest string }

// ParseReference reads name, name:tag, name@digest or name:tag@digest. A
// reference with neither tag nor digest means the tag "latest", as everywhere.
func ParseReference(text string) (Reference, error) {
	name, digest, hasDigest := strings.Cut(text, "@")
	if hasDigest {
		algorithm, hash, ok := strings.Cut(digest, ":")
		if !ok || algorithm == "" || hash == "" {
			return Reference{}, fmt.Errorf("%w: %q: the digest is not algorithm:hash", ErrInvalidName, text)
		}
	}
	tag := ""
	// A colon before the last slash belongs to a registry's port.
	if at := strings.LastIndex(name, ":"); at > strings.LastIndex(name, "/") {
		name, tag = name[:at], name[at+1:]
		if tag == "" {
			return Reference{}, fmt.Errorf("%w: %q: the tag is empty", ErrInvalidName, text)
		}
	}
	if name == "" || strings.ContainsAny(text, " \t\n") {
		return Reference{}, fmt.Errorf("%w: %q", ErrInvalidName, text)
	}
	if tag == "" && digest == "" {
		tag = "latest"
	}
	return Reference{Name: name, Tag: tag, Digest: digest}, nil
}

// Match finds the entry for a reference. A digest decides alone; a tag beside
// it is ignored, as container runtimes do.
func Match(entries []Entry, text string) (Entry, error) {
	ref, err := ParseReference(text)
	if err != nil {
		return Entry{}, err
	}
	for _, entry := range entries {
		if entry.Name != ref.Name {
			continue
		}
		if ref.Digest != "" && entry.Digest == ref.Digest || ref.Digest == "" && entry.Tag == ref.Tag {
			return entry, nil
		}
	}
	return Entry{}, fmt.Errorf("%s: %w", text, ErrNotFound)
}

// File is the image file; safe for concurrent use.
type File struct {
	path string

	mu       sync.Mutex
	modified time.Time
	size     int64
	entries  []Entry
}

// Open names the file; it is read at the first lookup and may appear later.
func Open(path string) *File { return &File{path: path} }

// Lookup matches a reference against the file's present content. While the
// file cannot be read the entries read last stay valid, so that a writer
// caught half-way does not take images away.
func (f *File) Lookup(reference string) (Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refresh(); err != nil {
		slog.Warn("image file not readable; using what was read last", "file", f.path, "error", err)
		if f.entries == nil {
			return Entry{}, fmt.Errorf("reading the image file: %w", err)
		}
	}
	return Match(f.entries, reference)
}

func (f *File) refresh() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	if f.entries != nil && info.ModTime().Equal(f.modified) && info.Size() == f.size {
		return nil
	}
	content, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	var parsed struct {
		Images []Entry `json:"images"`
	}
	if err := json.Unmarshal(content, &parsed); err != nil {
		return err
	}
	f.entries, f.modified, f.size = parsed.Images, info.ModTime(), info.Size()
	if f.entries == nil {
		f.entries = []Entry{}
	}
	return nil
}
