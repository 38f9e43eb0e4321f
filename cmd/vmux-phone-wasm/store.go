//go:build js && wasm

package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall/js"

	"vmux/internal/browserphone"
)

// store keeps documents in the browser's IndexedDB, through storage.js, and all
// of them in memory: reading never waits, which Prepare must not. A change is
// told only after the browser has kept it.
type store struct {
	host js.Value

	write sync.Mutex // held while the browser writes, so that writes keep their order

	mu   sync.Mutex // guards docs; never held while waiting
	docs map[string][]byte
}

func newStore(host js.Value) *store {
	s := &store{host: host, docs: map[string][]byte{}}
	documents := host.Get("documents") // [name, Uint8Array] of each, in the order of writing
	for i := range documents.Length() {
		d := documents.Index(i)
		name := d.Index(0).String()
		s.docs[name] = append(s.docs[name], bytesOf(d.Index(1))...)
	}
	return s
}

// Get implements documents.Store.
func (s *store) Get(name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.docs[name]), nil
}

// Put implements documents.Store.
func (s *store) Put(name string, b []byte) error {
	b = append([]byte{}, b...)
	return s.change(s.host.Get("put"), name, b, func(docs map[string][]byte) { docs[name] = b })
}

// Append adds to the end of a document.
func (s *store) Append(name string, b []byte) error {
	return s.change(s.host.Get("append"), name, b, func(docs map[string][]byte) { docs[name] = append(docs[name], b...) })
}

// Delete implements documents.Store.
func (s *store) Delete(name string) error {
	return s.change(s.host.Get("remove"), name, nil, func(docs map[string][]byte) { delete(docs, name) })
}

func (s *store) change(write js.Value, name string, b []byte, apply func(map[string][]byte)) error {
	s.write.Lock()
	defer s.write.Unlock()
	if _, err := await(write.Invoke(name, arrayOf(b))); err != nil {
		return fmt.Errorf("%w (%w)", browserphone.ErrStorage, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	apply(s.docs)
	return nil
}

// List implements documents.Store.
func (s *store) List(prefix string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.docs {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Size is the size of a document in bytes: nobody else writes it, and so the log need
// not be read again to be continued.
func (s *store) Size(name string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.docs[name]), nil
}
