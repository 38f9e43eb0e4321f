// Package documents is how a phone's documents are kept: a store that the platform
// gives, and the JSON in it. It knows nothing of what they say.
package documents

import (
	"encoding/json"
	"fmt"
)

// Store keeps documents, and has one owner: the signer. One that can add to the end
// of a document has Append(name string, b []byte) error, which spares writing the
// whole log.
type Store interface {
	// Get returns nil and no error for a document that is not there.
	Get(name string) ([]byte, error)
	// Put replaces a document as a whole or leaves it as it was.
	Put(name string, b []byte) error
	Delete(name string) error
	List(prefix string) ([]string, error)
}

// UnreadableError tells of a document that is there and cannot be read.
type UnreadableError struct {
	Name    string // of the document
	Version int    // another one than 1; 0: the document is damaged
	what    string
}

// Error says what it holds.
func (e *UnreadableError) Error() string {
	if e.Version != 0 {
		return fmt.Sprintf("load %s: version %d, want 1", e.what, e.Version)
	}
	return "load " + e.what + ": the document is damaged"
}

// Load reads a document of version 1, nil and no error if there is none. What is
// what it holds, for errors.
func Load[T any](store Store, name, what string) (*T, error) {
	doc := new(T)
	if found, err := load(store, name, what, doc); !found || err != nil {
		return nil, err
	}
	return doc, nil
}

// load is Load once for all types: the web app carries each of them.
func load(store Store, name, what string, doc any) (found bool, err error) {
	b, err := store.Get(name)
	if err != nil {
		return false, fmt.Errorf("load %s: %w", what, err)
	}
	if b == nil {
		return false, nil
	}
	var head struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(b, &head) != nil || json.Unmarshal(b, doc) != nil {
		return false, &UnreadableError{name, 0, what}
	}
	if head.Version != 1 {
		return false, &UnreadableError{name, head.Version, what}
	}
	return true, nil
}

// Save replaces a document.
func Save(store Store, name string, document any) error {
	b, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	if err := store.Put(name, append(b, '\n')); err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	return nil
}
