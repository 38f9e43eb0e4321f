package device

import (
	"slices"
	"sync"
)

// MemoryStore is a Store in memory: for tests, and for a device that is not
// meant to outlive its process.
type MemoryStore struct {
	mu sync.Mutex
	b  []byte
}

// Load implements Store.
func (m *MemoryStore) Load() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.b), nil
}

// Save implements Store.
func (m *MemoryStore) Save(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.b = slices.Clone(b)
	return nil
}
