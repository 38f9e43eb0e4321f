package push

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
)

// Store is what waking needs of the hub's memory: small values under
// names of ASCII letters, digits and dots. Several hubs may share one. All of it
// may be called concurrently.
type Store interface {
	// Get returns the value, or nil and no error if there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	// Create stores the value unless there is one already: ErrExists.
	Create(ctx context.Context, key string, value []byte) error
	// Put replaces the value.
	Put(ctx context.Context, key string, value []byte) error
	// Delete removes the value; one that is not there is no error.
	Delete(ctx context.Context, key string) error
	// Keys returns the names of all values, in any order.
	Keys(ctx context.Context) ([]string, error)
}

// ErrExists is returned by Create.
var ErrExists = errors.New("there is a value already")

// Memory is a Store that forgets everything when the process ends.
type Memory struct {
	mu     sync.Mutex
	values map[string][]byte
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.values[key]), nil
}

// Create implements Store.
func (m *Memory) Create(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values[key] != nil {
		return ErrExists
	}
	m.put(key, value)
	return nil
}

// Put implements Store.
func (m *Memory) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(key, value)
	return nil
}

func (m *Memory) put(key string, value []byte) {
	if m.values == nil {
		m.values = map[string][]byte{}
	}
	m.values[key] = append([]byte{}, value...)
}

// Delete implements Store.
func (m *Memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, key)
	return nil
}

// Keys implements Store.
func (m *Memory) Keys(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.values)), nil
}
