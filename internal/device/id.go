// Package device says who is who: long-term device keys, the IDs that follow
// from them, the peers that a device trusts, and the invitations by which two
// devices come to trust each other. It knows no sockets and no files: what has
// to rest somewhere goes through a Store.
package device

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"slices"
	"strings"
)

// IDSize is the size of a device ID in bytes.
const IDSize = sha256.Size

// ID names a device: the SHA-256 of its key's SubjectPublicKeyInfo (RFC 5280
// section 4.1).
type ID [IDSize]byte

// idEncoding keeps an ID in one case and free of padding, so that it can stand
// in a URL, a DNS label or a command line as it is.
var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// shortLen is how many characters of an ID people are shown.
const shortLen = 12

// ErrNotID is returned for text that is not a device ID.
var ErrNotID = errors.New("not a device ID")

// IDOf returns the ID of the device that presents the certificate.
func IDOf(cert *x509.Certificate) ID {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

// ParseID reads the text that String writes, and only that: 52 characters of
// lower-case base32 whose unused last bits are zero.
func ParseID(s string) (ID, error) {
	var id ID
	b, err := idEncoding.DecodeString(s)
	if err != nil || len(b) != IDSize {
		return ID{}, ErrNotID
	}
	copy(id[:], b)
	if id.String() != s { // rejects loose trailing bits and ignored newlines
		return ID{}, ErrNotID
	}
	return id, nil
}

// String returns the ID as 52 characters of lower-case base32.
func (id ID) String() string { return idEncoding.EncodeToString(id[:]) }

// Short returns the first 12 characters (60 bits), for people to compare. It is
// never used to decide.
func (id ID) Short() string { return id.String()[:shortLen] }

// InFours groups the text of an ID for comparing by eye, as phones show it.
func InFours(id string) string {
	var fours []string
	for four := range slices.Chunk([]byte(id), 4) {
		fours = append(fours, string(four))
	}
	return strings.Join(fours, " ")
}

// Compare orders IDs by their bytes.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// IsZero reports whether the ID is unset.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It is as strict as ParseID.
func (id *ID) UnmarshalText(b []byte) error {
	parsed, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
