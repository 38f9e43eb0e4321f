// Package backup is the file in which a phone's keys and rules outlive the phone: a document
// in JSON, encrypted under a passphrase in the age format. docs/backup.md describes it. It
// makes bytes of a document and a document of bytes: which keys go in, and what becomes of
// those that come out, is decided elsewhere.
package backup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"vmux/internal/signer/certificates"
	"vmux/internal/signer/hosts"
	"vmux/internal/signer/policy"
)

const (
	formatName = "vmux phone backup"
	version    = 1
)

// Errors of Open.
var (
	// ErrWrongPassphrase is also that of a file whose first lines were changed: nothing
	// tells the two apart.
	ErrWrongPassphrase = errors.New("wrong passphrase, or the backup is damaged")
	ErrDamaged         = errors.New("the backup is damaged or cut off")
	ErrNotBackup       = errors.New("this is no backup of a phone")
	ErrNewer           = errors.New("the backup was made by a newer version of vmux")
	ErrTooCostly       = errors.New("the backup takes more memory to open than a phone has")
)

// Document is what a backup holds.
type Document struct {
	Format    string    `json:"format"`
	Version   int       `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
	Keys      []Key     `json:"keys,omitempty"`
	CA        *CA       `json:"ca,omitempty"`
	// Servers are those that the phone remembered.
	Servers []hosts.Host `json:"servers,omitempty"`
	Missing []Missing    `json:"missing,omitempty"`
	// Certificates are those that had not expired, and which of them were revoked.
	Certificates []certificates.Issued `json:"certificates,omitempty"`
}

// Key is an identity with its private key.
type Key struct {
	Label      string       `json:"label"`
	PublicKey  string       `json:"publicKey"` // line for authorized_keys
	PrivateKey PrivateKey   `json:"privateKey"`
	Enabled    bool         `json:"enabled"`
	Default    bool         `json:"default,omitempty"`
	CreatedAt  time.Time    `json:"createdAt"`
	Principals []string     `json:"principals,omitempty"`
	Rules      policy.Rules `json:"rules,omitzero"`
}

// CA is the certificate authority with its private key.
type CA struct {
	PublicKey  string         `json:"publicKey"` // line for TrustedUserCAKeys
	PrivateKey PrivateKey     `json:"privateKey"`
	CreatedAt  time.Time      `json:"createdAt"`
	Policy     policy.Issuing `json:"policy"`
}

// Missing is a key of the phone whose private half is not the phone's to give: a passkey,
// or one of another agent. It is named, so that whoever restores knows what to replace.
type Missing struct {
	Label     string `json:"label"`
	PublicKey string `json:"publicKey"`
	Provider  string `json:"provider"` // as of an identity
	CA        bool   `json:"ca,omitempty"`
}

// Wipe overwrites the private keys.
func (d *Document) Wipe() {
	for _, k := range d.Keys {
		clear(k.PrivateKey.file)
	}
	if d.CA != nil {
		clear(d.CA.PrivateKey.file)
	}
}

// encode writes the document, of this version.
func (d Document) encode() ([]byte, error) {
	d.Format, d.Version = formatName, version
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode backup: %w", err)
	}
	return append(b, '\n'), nil
}

// decode reads a document. One that says more than this version understands is refused as
// a whole: what is not understood may be a restriction.
func decode(b []byte) (*Document, error) {
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	switch err := json.Unmarshal(b, &head); {
	case err != nil || head.Format != formatName:
		return nil, ErrNotBackup
	case head.Version > version:
		return nil, ErrNewer
	case head.Version != version:
		return nil, ErrDamaged
	}
	doc := new(Document)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(doc); err != nil {
		doc.Wipe()
		if strings.Contains(err.Error(), "unknown field") {
			return nil, ErrNewer
		}
		return nil, ErrDamaged
	}
	return doc, nil
}
