package hub

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vmux/internal/hub/store"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// What is stored is there after a restart, in a folder for its owner alone.
func TestStoreSurvives(t *testing.T) {
	ctx, dir := context.Background(), filepath.Join(t.TempDir(), "state")
	inDir := func(c *Config) { c.StateDir = dir }
	h := newHub(t, inDir)
	s := h.store
	if created, err := s.Create(ctx, "first", []byte("keys")); err != nil || !created {
		t.Fatalf("not created: %v", err)
	}
	for _, err := range []error{
		s.Put(ctx, "push.a", []byte("one")),
		s.Put(ctx, "push.a", []byte("two")),
		s.Put(ctx, "push.b", []byte("gone soon")),
		s.Delete(ctx, "push.b"),
		s.Delete(ctx, "push.never"),
		s.Put(ctx, "empty", nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if created, err := s.Create(ctx, "first", []byte("others")); err != nil || created {
		t.Errorf("created twice: %t, %v", created, err)
	}
	if created, err := s.Create(ctx, "push.b", []byte("again")); err != nil || !created {
		t.Errorf("create after delete: %t, %v", created, err)
	}
	if err := s.Put(ctx, "big", make([]byte, store.MaxValue+1)); err == nil {
		t.Error("a value over the limit is stored")
	}
	h.end()

	s = newHub(t, inDir).store
	for key, want := range map[string]string{"first": "keys", "push.a": "two", "push.b": "again", "push.never": "", "empty": "", "big": ""} {
		if got, err := s.Get(ctx, key); err != nil || !bytes.Equal(got, []byte(want)) || (got == nil) != (key == "push.never" || key == "big") {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
	keys, err := s.Keys(ctx)
	slices.Sort(keys)
	if err != nil || !slices.Equal(keys, []string{"empty", "first", "push.a", "push.b", "vapid"}) {
		t.Errorf("keys %q, %v", keys, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info.Mode(), err)
	}
}

// Two hubs on one folder would ruin it: the second is refused, and the first
// goes on. A folder that others can write to is refused as well.
func TestStateFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	inDir := func(c *Config) { c.StateDir = dir }
	h := newHub(t, inDir)
	if _, err := New(Config{PublicURL: "http://localhost", StateDir: dir}); !errors.Is(err, store.ErrInUse) {
		t.Errorf("a second hub: %v", err)
	}
	if err := h.store.Put(context.Background(), "key", []byte("value")); err != nil {
		t.Error(err)
	}
	h.end()
	newHub(t, inDir)

	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{PublicURL: "http://localhost", StateDir: open}); err == nil {
		t.Error("a folder that everybody can write to")
	}
	if _, err := New(Config{PublicURL: "http://localhost"}); err == nil {
		t.Error("a hub without a folder")
	}
}

// Hubs of one cluster share what they remember; of two that make the first keys
// one wins, and both learn it.
func TestStoreOfCluster(t *testing.T) {
	ctx := context.Background()
	one, other := twoHubs(t)
	if created, err := one.store.Create(ctx, "first", []byte("first")); err != nil || !created {
		t.Fatalf("not created: %v", err)
	}
	if created, err := other.store.Create(ctx, "first", []byte("second")); err != nil || created {
		t.Errorf("both made keys: %t, %v", created, err)
	}
	if got, err := other.store.Get(ctx, "first"); err != nil || string(got) != "first" {
		t.Errorf("%q, %v", got, err)
	}
}

// A bucket that an operator has made, with settings of their own, is used as it is.
func TestBucketOfOperator(t *testing.T) {
	ctx := context.Background()
	ns := newNATS(t, server.RANDOM_PORT, t.TempDir())
	nc, err := nats.Connect(ns.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: store.Bucket, Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	s := newHub(t, withNATS(ns.ClientURL())).store
	for _, err := range []error{s.Put(ctx, "a", []byte("b")), s.Delete(ctx, "a"), s.Put(ctx, "c", []byte("d"))} {
		if err != nil {
			t.Error(err)
		}
	}
	if keys, err := s.Keys(ctx); err != nil || !slices.Contains(keys, "c") || slices.Contains(keys, "a") {
		t.Errorf("keys %q, %v", keys, err)
	}
}

// A NATS server without JetStream is of no use, and the hub says so.
func TestNoJetStream(t *testing.T) {
	ns := newNATS(t, server.RANDOM_PORT, "")
	if _, err := New(Config{PublicURL: "http://localhost", NATSURL: ns.ClientURL()}); err == nil || !strings.Contains(wire.HintOf(err), "JetStream: switch it on") {
		t.Errorf("a hub without a store: %v", err)
	}
}

// A NATS user without the hubs' subjects leaves a hub deaf: it does not start. With what the
// hint names it does.
func TestNATSPermissions(t *testing.T) {
	publish, subscribe := []string{"$JS.API.>", "$KV.vmux-hub.>"}, []string{"_INBOX.>"}
	start := func() error {
		ns := newNATS(t, server.RANDOM_PORT, t.TempDir(), func(o *server.Options) {
			o.Users = []*server.User{{Username: "hub", Password: "x", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: subscribe},
			}}}
		})
		var log testkit.Output
		h, err := New(Config{PublicURL: "http://localhost", NATSURL: strings.Replace(ns.ClientURL(), "//", "//hub:x@", 1), Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			return err
		}
		defer h.Close()
		s := h.store
		if err := s.Put(t.Context(), "push.a", []byte("one")); err != nil {
			t.Error(err)
		}
		if keys, err := s.Keys(t.Context()); err != nil || !slices.Contains(keys, "push.a") {
			t.Errorf("%q, %v", keys, err)
		}
		if err := s.Delete(t.Context(), "push.a"); err != nil {
			t.Error(err)
		}
		if strings.Contains(log.String(), "ermission") {
			t.Error(log.String())
		}
		return nil
	}
	if err := start(); err == nil || !strings.Contains(wire.HintOf(err), "subscribe vmux.hub.>") {
		t.Errorf("without the hubs' subjects: %v", err)
	}
	publish, subscribe = append(publish, "vmux.hub.>"), append(subscribe, "vmux.hub.>")
	if err := start(); err != nil {
		t.Error(err)
	}
}

// A NATS that takes short messages only would lose those of devices; the hub says so when it
// starts (peer-observer/peer-observer#99).
func TestNATSForShortMessages(t *testing.T) {
	ns := newNATS(t, server.RANDOM_PORT, t.TempDir(), func(o *server.Options) { o.MaxPayload = 64 << 10 })
	if _, err := New(Config{PublicURL: "http://localhost", NATSURL: ns.ClientURL()}); err == nil || !strings.Contains(err.Error(), "raise max_payload there") {
		t.Error(err)
	}
}

// A hub that devices could not find, or whose origin others share, does not start.
func TestPublicURL(t *testing.T) {
	for _, url := range []string{"", "hub.example", "http://hub.example", "https://hub.example/vmux"} {
		if h, err := New(Config{PublicURL: url, StateDir: t.TempDir()}); !errors.Is(err, wire.ErrHubURL) {
			t.Errorf("%q: %v", url, err)
			if err == nil {
				h.Close()
			}
		}
	}
}
