// Package keys remembers which SSH keys phones hold, public material only, so that
// they are listed while their phone is away.
//
// A phone can list any public key, also one whose private half another phone has:
// public keys are public. What it says counts for others' keys only once it has
// proven that it has the key itself, by a signature that verified. Until then it is
// asked like all that list the key, since that is how it proves it, but its refusal
// does not end a request that another phone may answer, and what it says of the key
// (comment, default, servers) gives way.
package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// Document is the name of the document with the keys of each phone.
const Document = "cached-keys.json"

// Info is one identity of a phone as it rests in the cache: public
// material only.
type Info struct {
	Fingerprint   string            `json:"fingerprint"`
	Algorithm     string            `json:"algorithm"`
	PublicKeyBlob []byte            `json:"publicKeyBlob"`
	Comment       string            `json:"comment"`
	ProviderKind  wire.ProviderKind `json:"providerKind"`
	DisplayName   string            `json:"displayName,omitempty"`
	Default       bool              `json:"default,omitempty"`
	// Hosts are the only servers it may be used for, as fingerprints of their
	// host keys; empty: not known.
	Hosts []string `json:"hosts,omitempty"`
	// Proven: the phone has produced a signature by this key. Until then it only says
	// that it has it. It goes with the pairing, as the rest does.
	Proven bool `json:"proven,omitempty"`
	// SecondWay: the phone says that there is a way in without it, as a backup.
	SecondWay bool `json:"secondWay,omitempty"`
}

// NewInfo checks what a phone tells of a key. The type in the blob is what
// counts; a certificate or what cannot be verified later is no identity.
func NewInfo(k wire.RemoteSignerPublicKey) (Info, error) {
	public, err := ssh.ParsePublicKey(k.PublicKeyBlob)
	if err != nil {
		return Info{}, errors.New("key of an unknown type or malformed")
	}
	if _, isCert := public.(*ssh.Certificate); isCert {
		return Info{}, errors.New("a certificate in place of a key")
	}
	return Info{
		Fingerprint:   sshctx.Fingerprint(k.PublicKeyBlob),
		Algorithm:     public.Type(),
		PublicKeyBlob: k.PublicKeyBlob,
		Comment:       wire.Show(k.Comment),
		ProviderKind:  k.ProviderKind,
		DisplayName:   wire.Show(k.DisplayName),
		Default:       k.Default,
		Hosts:         k.Hosts,
		SecondWay:     k.SecondWay,
	}, nil
}

// Passkey reports whether the key is one of WebAuthn.
func (k *Info) Passkey() bool { return strings.HasPrefix(k.Algorithm, "sk-") }

// check makes sure of what comes from the disk.
func (k *Info) check() error {
	info, err := NewInfo(wire.RemoteSignerPublicKey{PublicKeyBlob: k.PublicKeyBlob})
	if err != nil {
		return err
	}
	if len(k.Hosts) > wire.MaxHosts {
		return errors.New("too many hosts")
	}
	if info.Fingerprint != k.Fingerprint || info.Algorithm != k.Algorithm {
		return errors.New("fingerprint or algorithm of another key")
	}
	return nil
}

const version = 1

// cachedKeys is the cache's document. Phones are in the order of their IDs.
type cachedKeys struct {
	Version int           `json:"version"`
	Phones  []cachedPhone `json:"cachedKeys"`
}

type cachedPhone struct {
	DeviceID device.ID `json:"deviceID"`
	Keys     []Info    `json:"keys"`
}

// load reads the cached keys of each phone. A document that is damaged is
// set aside and told of in warning.
func load(d Documents, now time.Time) (keys map[device.ID][]Info, warning string, err error) {
	b, err := d.Get(Document)
	if err != nil {
		return nil, "", fmt.Errorf("read the key cache: %w", err)
	}
	if b == nil {
		return map[device.ID][]Info{}, "", nil
	}
	keys, err = parse(b)
	if err == nil {
		return keys, "", nil
	}
	aside, err := d.SetAside(Document, now)
	if err != nil {
		return nil, "", fmt.Errorf("set the damaged key cache aside: %w", err)
	}
	return map[device.ID][]Info{},
		fmt.Sprintf("The key cache was damaged and is set aside as %s. Keys are listed again once their phone connects.", aside), nil
}

func parse(b []byte) (map[device.ID][]Info, error) {
	var c cachedKeys
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, err
	}
	if c.Version != version || len(c.Phones) > device.MaxPeers {
		return nil, errors.New("of another version")
	}
	keys := make(map[device.ID][]Info, len(c.Phones))
	for _, p := range c.Phones {
		if len(p.Keys) > wire.MaxKeys {
			return nil, errors.New("too many keys")
		}
		for i := range p.Keys {
			if err := p.Keys[i].check(); err != nil {
				return nil, err
			}
		}
		keys[p.DeviceID] = p.Keys
	}
	return keys, nil
}

func encode(keys map[device.ID][]Info) ([]byte, error) {
	c := cachedKeys{Version: version, Phones: []cachedPhone{}}
	for _, id := range slices.SortedFunc(maps.Keys(keys), device.ID.Compare) {
		c.Phones = append(c.Phones, cachedPhone{id, keys[id]})
	}
	return json.MarshalIndent(c, "", "  ")
}
