package push

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"
)

// vapidName is the store's name for the keys. Subscriptions have names of their
// own kind.
const vapidName = "vapid"

// vapidKeys are what push services know the hub by (RFC 8292). Lost keys cost
// every subscription: a browser binds each to the key it was made with.
type vapidKeys struct {
	private, public string // unpadded base64url: the scalar, the uncompressed point
}

// LogValue keeps the private key out of logs.
func (vapidKeys) LogValue() slog.Value { return slog.StringValue("redacted") }

// tokenLife is how long a push service may take a token for valid. RFC 8292
// section 2 allows 24 h; half of it bears a clock that is hours off either way.
const tokenLife = 12 * time.Hour

// authorization returns the header by which the hub proves itself to the push
// service of the endpoint (RFC 8292 sections 2 and 3).
func (k vapidKeys) authorization(endpoint *url.URL, subject string, now time.Time) (string, error) {
	scalar, err := base64.RawURLEncoding.DecodeString(k.private)
	if err != nil {
		return "", err
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"aud": endpoint.Scheme + "://" + endpoint.Host, "exp": now.Add(tokenLife).Unix(), "sub": subject,
	})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"typ":"JWT","alg":"ES256"}`)) + "." + encode(claims)
	hash := sha256.Sum256([]byte(token))
	r, s, err := ecdsa.Sign(rand.Reader, key, hash[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64) // RFC 7518 section 3.4
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return "vapid t=" + token + "." + encode(signature) + ", k=" + k.public, nil
}

// storedKeys is how the keys rest in the store.
type storedKeys struct {
	Private []byte `json:"private"` // the P-256 scalar, 32 bytes
}

// KeyFile keeps the VAPID keys beside the store, for when that is damaged. Load
// returns nil and no error if there are none.
type KeyFile interface {
	Load() ([]byte, error)
	Save([]byte) error
}

// loadKeys returns the keys in the store, which it writes to the file as well.
// Where the store has lost them, those of the file go back into it. If there are
// none it makes them; of several hubs that start at once, one makes them for all.
// fresh: those that were subscribed before cannot be woken with these.
func loadKeys(ctx context.Context, store Store, file KeyFile, log *slog.Logger) (keys vapidKeys, fresh bool, err error) {
	stored, err := store.Get(ctx, vapidName)
	if err != nil {
		return vapidKeys{}, false, fmt.Errorf("read the VAPID keys: %w", err)
	}
	var kept []byte
	var unread error
	if file != nil {
		if kept, unread = file.Load(); unread != nil {
			log.Warn("cannot read the file of the VAPID keys", "reason", unread)
		}
	}
	keys, err = parseKeys(stored)
	if err != nil {
		wanted := kept
		_, none := parseKeys(kept)
		switch {
		case none == nil:
			log.Warn("the store had lost the VAPID keys; they were in their file as well")
		case stored != nil:
			return vapidKeys{}, false, err // they may still be repaired by hand
		case unread != nil: // new ones would take its place
			return vapidKeys{}, false, fmt.Errorf("the store has no VAPID keys, and their file cannot be read: %w", unread)
		default:
			if wanted, err = makeKeys(); err != nil {
				return vapidKeys{}, false, fmt.Errorf("make the VAPID keys: %w", err)
			}
			fresh = true
		}
		if stored, err = storeKeys(ctx, store, stored != nil, wanted); err != nil {
			return vapidKeys{}, false, err
		}
		fresh = fresh && bytes.Equal(stored, wanted)
		if keys, err = parseKeys(stored); err != nil {
			return vapidKeys{}, false, err
		}
	}
	if file != nil && !bytes.Equal(kept, stored) {
		if err := file.Save(stored); err != nil {
			log.Warn("the VAPID keys are in the store only", "reason", err)
		}
	}
	return keys, fresh, nil
}

func makeKeys() ([]byte, error) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return json.Marshal(storedKeys{Private: key.Bytes()})
}

// storeKeys stores the keys in place of damaged ones, or if there are none, and
// returns those that are in the store then.
func storeKeys(ctx context.Context, store Store, damaged bool, keys []byte) (stored []byte, err error) {
	done := true
	if damaged {
		err = store.Put(ctx, vapidName, keys)
	} else {
		done, err = store.Create(ctx, vapidName, keys)
	}
	if err != nil {
		return nil, fmt.Errorf("store the VAPID keys: %w", err)
	}
	if !done {
		if keys, err = store.Get(ctx, vapidName); err != nil {
			return nil, fmt.Errorf("read the VAPID keys: %w", err)
		}
	}
	return keys, nil
}

// forgetSubscriptions removes all subscriptions: browsers have bound them to keys
// that are lost, so that no push service would take a push for them. Phones get the
// new keys with the hub's welcome, and their app subscribes anew.
func (s *Service) forgetSubscriptions(ctx context.Context) error {
	names, err := s.names(ctx, subscriptionPrefix)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.store.Delete(ctx, name); err != nil {
			return fmt.Errorf("delete push subscription: %w", err)
		}
	}
	level := slog.LevelWarn
	if len(names) == 0 { // the first start, or all of the store is lost
		level = slog.LevelInfo
	}
	s.log.Log(ctx, level, "the hub has new VAPID keys: phones that were subscribed to others cannot be woken until their app was opened", "removed", len(names))
	return nil
}

func parseKeys(b []byte) (vapidKeys, error) {
	var stored storedKeys
	if err := json.Unmarshal(b, &stored); err != nil {
		return vapidKeys{}, errors.New("the stored VAPID keys are damaged")
	}
	key, err := ecdh.P256().NewPrivateKey(stored.Private)
	if err != nil {
		return vapidKeys{}, errors.New("the stored VAPID keys are damaged")
	}
	return vapidKeys{
		private: base64.RawURLEncoding.EncodeToString(key.Bytes()),
		public:  base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()),
	}, nil
}
