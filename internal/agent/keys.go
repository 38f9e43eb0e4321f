package agent

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

// AgentKeyInfo is one identity of a phone as it rests in the cache: public
// material only.
type AgentKeyInfo struct {
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
}

// keyInfo checks what a phone tells of a key. The type in the blob is what
// counts; a certificate or what cannot be verified later is no identity.
func keyInfo(k wire.RemoteSignerPublicKey) (AgentKeyInfo, error) {
	public, err := ssh.ParsePublicKey(k.PublicKeyBlob)
	if err != nil {
		return AgentKeyInfo{}, errors.New("key of an unknown type or malformed")
	}
	if _, isCert := public.(*ssh.Certificate); isCert {
		return AgentKeyInfo{}, errors.New("a certificate in place of a key")
	}
	return AgentKeyInfo{
		Fingerprint:   sshctx.Fingerprint(k.PublicKeyBlob),
		Algorithm:     public.Type(),
		PublicKeyBlob: k.PublicKeyBlob,
		Comment:       wire.Show(k.Comment),
		ProviderKind:  k.ProviderKind,
		DisplayName:   wire.Show(k.DisplayName),
		Default:       k.Default,
		Hosts:         k.Hosts,
	}, nil
}

func (k *AgentKeyInfo) passkey() bool { return strings.HasPrefix(k.Algorithm, "sk-") }

// check makes sure of what comes from the disk.
func (k *AgentKeyInfo) check() error {
	info, err := keyInfo(wire.RemoteSignerPublicKey{PublicKeyBlob: k.PublicKeyBlob})
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

// documents are the agent's files; *state.Dir implements it.
type documents interface {
	Get(name string) ([]byte, error)
	Put(name string, b []byte) error
	SetAside(name, suffix string) (string, error)
}

// Names of the documents in the agent's state folder.
const (
	documentDeviceKey = "device-key"
	documentTrust     = "devices"
	documentCache     = "cached-keys.json"
)

const cacheVersion = 1

// cachedKeys is the cache's document. Phones are in the order of their IDs.
type cachedKeys struct {
	Version int           `json:"version"`
	Phones  []cachedPhone `json:"cachedKeys"`
}

type cachedPhone struct {
	DeviceID device.ID      `json:"deviceID"`
	Keys     []AgentKeyInfo `json:"keys"`
}

// loadCache reads the cached keys of each phone. A document that is damaged is
// set aside and told of in warning.
func loadCache(d documents, now time.Time) (keys map[device.ID][]AgentKeyInfo, warning string, err error) {
	b, err := d.Get(documentCache)
	if err != nil {
		return nil, "", fmt.Errorf("read the key cache: %w", err)
	}
	if b == nil {
		return map[device.ID][]AgentKeyInfo{}, "", nil
	}
	keys, err = parseCache(b)
	if err == nil {
		return keys, "", nil
	}
	aside, err := d.SetAside(documentCache, damagedSuffix(now))
	if err != nil {
		return nil, "", fmt.Errorf("set the damaged key cache aside: %w", err)
	}
	return map[device.ID][]AgentKeyInfo{},
		fmt.Sprintf("The key cache was damaged and is set aside as %s. Keys are listed again once their phone connects.", aside), nil
}

func damagedSuffix(now time.Time) string { return ".damaged-" + now.UTC().Format("20060102-150405") }

func parseCache(b []byte) (map[device.ID][]AgentKeyInfo, error) {
	var c cachedKeys
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, err
	}
	if c.Version != cacheVersion || len(c.Phones) > device.MaxPeers {
		return nil, errors.New("of another version")
	}
	keys := make(map[device.ID][]AgentKeyInfo, len(c.Phones))
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

func encodeCache(keys map[device.ID][]AgentKeyInfo) ([]byte, error) {
	c := cachedKeys{Version: cacheVersion, Phones: []cachedPhone{}}
	for _, id := range slices.SortedFunc(maps.Keys(keys), device.ID.Compare) {
		c.Phones = append(c.Phones, cachedPhone{id, keys[id]})
	}
	return json.MarshalIndent(c, "", "  ")
}
