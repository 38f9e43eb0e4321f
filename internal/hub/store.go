package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vmux/internal/hub/push"
)

const (
	// bucket is the JetStream key-value bucket of all hubs of a cluster. One
	// that exists already keeps its settings.
	bucket       = "vmux-hub"
	maxBucket    = 128 << 20 // bytes
	maxValue     = 32 << 10
	keepDeletion = time.Hour
)

// store is what the hub remembers: small values under names of ASCII letters,
// digits, dots, dashes. It is a push.Store; all of it may be called concurrently.
type store struct {
	kv   jetstream.KeyValue
	disk *disk // nil: somebody else's
	// What Delete asks for, so that the marks of what was deleted go as well.
	deletion []jetstream.KVDeleteOpt
}

var _ push.Store = (*store)(nil)

// openStore opens the bucket, which it makes if there is none.
func openStore(ctx context.Context, nc *nats.Conn) (*store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	kv, err := js.KeyValue(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = makeBucket(ctx, js)
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &store{kv: kv}
	if status.LimitMarkerTTL() > 0 {
		s.deletion = []jetstream.KVDeleteOpt{jetstream.PurgeTTL(keepDeletion)}
	}
	return s, nil
}

// makeBucket makes the bucket, if no other hub makes it at the same time. Servers
// before 2.11 do not know markers that end.
func makeBucket(ctx context.Context, js jetstream.JetStream) (jetstream.KeyValue, error) {
	c := jetstream.KeyValueConfig{
		Bucket: bucket, Description: "what the hubs of vmux remember",
		MaxValueSize: maxValue, MaxBytes: maxBucket, History: 1, LimitMarkerTTL: keepDeletion,
	}
	kv, err := js.CreateKeyValue(ctx, c)
	if errors.Is(err, jetstream.ErrLimitMarkerTTLNotSupported) {
		c.LimitMarkerTTL = 0
		kv, err = js.CreateKeyValue(ctx, c)
	}
	if errors.Is(err, jetstream.ErrBucketExists) {
		return js.KeyValue(ctx, bucket)
	}
	return kv, err
}

// Get returns the value, or nil and no error if there is none.
func (s *store) Get(ctx context.Context, key string) ([]byte, error) {
	ctx, done, err := s.within(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	entry, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, s.failed("read from store", err)
	}
	return append([]byte{}, entry.Value()...), nil
}

// Create stores the value unless there is one already: push.ErrExists.
func (s *store) Create(ctx context.Context, key string, value []byte) error {
	ctx, done, err := s.within(ctx)
	if err != nil {
		return err
	}
	defer done()
	_, err = s.kv.Create(ctx, key, value)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return push.ErrExists
	}
	if err != nil {
		return s.failed("write to store", err)
	}
	return nil
}

// Put replaces the value. When it returns, the new one is on the disk.
func (s *store) Put(ctx context.Context, key string, value []byte) error {
	ctx, done, err := s.within(ctx)
	if err != nil {
		return err
	}
	defer done()
	if _, err := s.kv.Put(ctx, key, value); err != nil {
		return s.failed("write to store", err)
	}
	return nil
}

// Delete removes the value; one that is not there is no error.
func (s *store) Delete(ctx context.Context, key string) error {
	ctx, done, err := s.within(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := s.kv.Purge(ctx, key, s.deletion...); err != nil {
		return s.failed("delete from store", err)
	}
	return nil
}

// Keys returns the names of all values, in any order.
func (s *store) Keys(ctx context.Context) ([]string, error) {
	ctx, done, err := s.within(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	keys, err := s.kv.Keys(ctx, jetstream.IgnoreDeletes())
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, nil
	}
	if err != nil {
		return nil, s.failed("list the store", err)
	}
	return slices.DeleteFunc(keys, func(key string) bool { return key == tried }), nil
}

// tried is the name of what try stores.
const tried = "tried"

// try stores something that nobody asks for.
func (s *store) try(ctx context.Context) error {
	_, err := s.kv.Put(ctx, tried, nil)
	return err
}

// within bounds what is done with the store by its end, or says why it takes
// nothing, so that nobody waits for it.
func (s *store) within(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if s.disk == nil {
		return ctx, func() {}, nil
	}
	if err := s.disk.closed(); err != nil {
		return nil, nil, err
	}
	ctx, done := s.disk.within(ctx)
	return ctx, done, nil
}

// failed has it looked whether the store has ended.
func (s *store) failed(what string, err error) error {
	if s.disk != nil {
		if why := s.disk.closed(); why != nil {
			return fmt.Errorf("%s: %w", what, why)
		}
		s.disk.failed()
	}
	return fmt.Errorf("%s: %w", what, err)
}
