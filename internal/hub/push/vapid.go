package push

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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

// storedKeys is how the keys rest in the store.
type storedKeys struct {
	Private []byte `json:"private"` // the P-256 scalar, 32 bytes
}

// loadKeys returns the keys in the store. If there are none it makes them; of
// several hubs that start at once, one makes them for all.
func loadKeys(ctx context.Context, store Store) (vapidKeys, error) {
	b, err := store.Get(ctx, vapidName)
	if err != nil {
		return vapidKeys{}, fmt.Errorf("read the VAPID keys: %w", err)
	}
	if b != nil {
		return parseKeys(b)
	}
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return vapidKeys{}, fmt.Errorf("make the VAPID keys: %w", err)
	}
	made, err := json.Marshal(storedKeys{Private: key.Bytes()})
	if err != nil {
		return vapidKeys{}, err
	}
	err = store.Create(ctx, vapidName, made)
	if errors.Is(err, ErrExists) {
		if made, err = store.Get(ctx, vapidName); err != nil {
			return vapidKeys{}, fmt.Errorf("read the VAPID keys: %w", err)
		}
	} else if err != nil {
		return vapidKeys{}, fmt.Errorf("store the VAPID keys: %w", err)
	}
	return parseKeys(made)
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
