package push

import "context"

// Store is what waking needs of the hub's memory: small values under
// names of ASCII letters, digits and dots. Several hubs may share one. All of it
// may be called concurrently.
type Store interface {
	// Get returns the value, or nil and no error if there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	// Create stores the value unless there is one already, and reports whether it did.
	Create(ctx context.Context, key string, value []byte) (bool, error)
	// Put replaces the value.
	Put(ctx context.Context, key string, value []byte) error
	// Delete removes the value; one that is not there is no error.
	Delete(ctx context.Context, key string) error
	// Keys returns the names of all values, in any order.
	Keys(ctx context.Context) ([]string, error)
}
