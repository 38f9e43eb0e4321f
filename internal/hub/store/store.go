// Package store is what a hub remembers: a bucket of small values in NATS, and the
// care for the disk where that NATS runs in the hub's own process. It knows nothing
// of devices, or of what the values are.
package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// Bucket is the JetStream key-value bucket of all hubs of a cluster. One
	// that exists already keeps its settings.
	Bucket = "vmux-hub"
	// MaxValue bounds a value in bytes, unless somebody else has made the bucket.
	MaxValue     = 32 << 10
	maxBucket    = 128 << 20
	keepDeletion = time.Hour
)

// ErrNoJetStream is of a NATS that answers nothing about stores.
var ErrNoJetStream = errors.New("this NATS has no JetStream for the hub")

// Store holds small values under names of ASCII letters, digits, dots, dashes. All
// of it may be called concurrently.
type Store struct {
	kv   jetstream.KeyValue
	disk *disk // nil: somebody else's
	// What Delete asks for, so that the marks of what was deleted go as well.
	deletion []jetstream.KVDeleteOpt
}

// Open opens the bucket, which it makes if there is none. own is the server that nc
// leads to, if that is the hub's own; nil: its disk is somebody else's to look after.
func Open(ctx context.Context, nc *nats.Conn, own *Server) (*Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	kv, err := js.KeyValue(ctx, Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = makeBucket(ctx, js)
	}
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		err = fmt.Errorf("%w (%w)", ErrNoJetStream, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{kv: kv}
	if own != nil {
		s.disk = newDisk(own, s.try)
		failed := s.disk.failed
		own.complaint.Store(&failed)
	}
	if status.LimitMarkerTTL() > 0 {
		s.deletion = []jetstream.KVDeleteOpt{jetstream.PurgeTTL(keepDeletion)}
	}
	return s, nil
}

// makeBucket makes the bucket, if no other hub makes it at the same time. Servers
// before 2.11 do not know markers that end.
func makeBucket(ctx context.Context, js jetstream.JetStream) (jetstream.KeyValue, error) {
	c := jetstream.KeyValueConfig{
		Bucket: Bucket, Description: "what the hubs of vmux remember",
		MaxValueSize: MaxValue, MaxBytes: maxBucket, History: 1, LimitMarkerTTL: keepDeletion,
	}
	kv, err := js.CreateKeyValue(ctx, c)
	if errors.Is(err, jetstream.ErrLimitMarkerTTLNotSupported) {
		c.LimitMarkerTTL = 0
		kv, err = js.CreateKeyValue(ctx, c)
	}
	if errors.Is(err, jetstream.ErrBucketExists) {
		return js.KeyValue(ctx, Bucket)
	}
	return kv, err
}

// Get returns the value, or nil and no error if there is none.
func (s *Store) Get(ctx context.Context, key string) (value []byte, err error) {
	err = s.do(ctx, "read from store", func(ctx context.Context) error {
		entry, err := s.kv.Get(ctx, key)
		switch {
		case err == nil:
			value = append([]byte{}, entry.Value()...)
		case errors.Is(err, jetstream.ErrKeyNotFound):
			return nil
		}
		return err
	})
	return value, err
}

// Create stores the value unless there is one already, and reports whether it did.
func (s *Store) Create(ctx context.Context, key string, value []byte) (created bool, err error) {
	err = s.do(ctx, "write to store", func(ctx context.Context) error {
		_, err := s.kv.Create(ctx, key, value)
		if created = err == nil; errors.Is(err, jetstream.ErrKeyExists) {
			return nil
		}
		return err
	})
	return created, err
}

// Put replaces the value. When it returns, the new one is on the disk.
func (s *Store) Put(ctx context.Context, key string, value []byte) error {
	return s.do(ctx, "write to store", func(ctx context.Context) error {
		_, err := s.kv.Put(ctx, key, value)
		return err
	})
}

// Delete removes the value; one that is not there is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.do(ctx, "delete from store", func(ctx context.Context) error {
		return s.kv.Purge(ctx, key, s.deletion...)
	})
}

// Keys returns the names of all values, in any order.
func (s *Store) Keys(ctx context.Context) (keys []string, err error) {
	err = s.do(ctx, "list the store", func(ctx context.Context) (err error) {
		keys, err = s.kv.Keys(ctx, jetstream.IgnoreDeletes())
		if errors.Is(err, jetstream.ErrNoKeysFound) {
			return nil
		}
		return err
	})
	return slices.DeleteFunc(keys, func(key string) bool { return key == tried }), err
}

// tried is the name of what try stores.
const tried = "tried"

// try stores something that nobody asks for.
func (s *Store) try(ctx context.Context) error {
	_, err := s.kv.Put(ctx, tried, nil)
	return err
}

// Health says why nothing can be stored, or nil. Of a disk it finds that it is full
// before a value is lost.
func (s *Store) Health() error {
	if s.disk == nil {
		return nil
	}
	return s.disk.health()
}

// Watch opens the store again after the disk was full, and calls again then, until ctx
// ends. It returns at once where there is no disk to look after.
func (s *Store) Watch(ctx context.Context, again func()) {
	if s.disk != nil {
		s.disk.watch(ctx, again)
	}
}

// do uses the store while it is open, or says why it takes nothing, so that nobody
// waits for it. What fails has it looked whether the store has ended.
func (s *Store) do(ctx context.Context, what string, use func(context.Context) error) error {
	if s.disk != nil {
		if err := s.disk.closed(); err != nil {
			return err
		}
		within, done := s.disk.within(ctx)
		defer done()
		ctx = within
	}
	err := use(ctx)
	if err == nil {
		return nil
	}
	if s.disk != nil {
		if why := s.disk.closed(); why != nil {
			return fmt.Errorf("%s: %w", what, why)
		}
		s.disk.failed()
	}
	return fmt.Errorf("%s: %w", what, err)
}
