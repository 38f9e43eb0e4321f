package signer

import (
	"bytes"
	"slices"
	"strings"
	"sync"
)

// MemoryStore is a Store in memory, for tests and for a phone that is not meant
// to outlive its process.
type MemoryStore struct {
	mu   sync.Mutex
	docs map[string][]byte
}

// Get implements Store.
func (m *MemoryStore) Get(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.docs[name]), nil
}

// Put implements Store.
func (m *MemoryStore) Put(name string, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.docs == nil {
		m.docs = map[string][]byte{}
	}
	m.docs[name] = append([]byte{}, b...)
	return nil
}

// Append adds to the end of a document.
func (m *MemoryStore) Append(name string, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.docs == nil {
		m.docs = map[string][]byte{}
	}
	m.docs[name] = append(m.docs[name], b...)
	return nil
}

// Delete implements Store.
func (m *MemoryStore) Delete(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.docs, name)
	return nil
}

// List implements Store.
func (m *MemoryStore) List(prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.docs {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}
