package webauthn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/binary"
	"errors"
)

var (
	errCBOR    = errors.New("malformed CBOR")
	errNotP256 = errors.New("it made a key that is not P-256 (ES256)")
)

// Major types of CBOR (RFC 8949 section 3.1).
const (
	cborUnsigned = iota
	cborNegative
	cborBytes
	cborText
	cborArray
	cborMap
	cborTag
	cborSimple
)

// Keys and values of a COSE key of ES256 (RFC 9053 sections 2.1 and 7.1.1).
const (
	coseType      = 1
	coseAlgorithm = 3
	coseCurve     = -1
	coseX         = -2
	coseY         = -3

	coseEC2   = 2
	coseES256 = -7
	coseP256  = 1
)

// maxCBORDepth bounds what is nested: attestation statements have two levels.
const maxCBORDepth = 8

// cbor reads CBOR of definite lengths, which is all that WebAuthn has (CTAP 2.1
// section 8). It takes maps in any order, and numbers longer than need be.
type cbor struct{ rest []byte }

// head reads the major type of the next item with its argument.
func (c *cbor) head() (major int, argument uint64, err error) {
	if len(c.rest) == 0 {
		return 0, 0, errCBOR
	}
	first := c.rest[0]
	c.rest = c.rest[1:]
	major, argument = int(first>>5), uint64(first&0x1f)
	if argument < 24 {
		return major, argument, nil
	}
	if argument > 27 {
		return 0, 0, errCBOR // of indefinite length, or reserved
	}
	long := make([]byte, 8)
	size := 1 << (argument - 24)
	if len(c.rest) < size {
		return 0, 0, errCBOR
	}
	copy(long[8-size:], c.rest)
	c.rest = c.rest[size:]
	return major, binary.BigEndian.Uint64(long), nil
}

// take reads the bytes of a string.
func (c *cbor) take(size uint64) ([]byte, error) {
	if size > uint64(len(c.rest)) {
		return nil, errCBOR
	}
	b := c.rest[:size]
	c.rest = c.rest[size:]
	return b, nil
}

// skip passes over one item.
func (c *cbor) skip(depth int) error {
	major, argument, err := c.head()
	if err != nil || depth > maxCBORDepth {
		return errCBOR
	}
	items := uint64(0)
	switch major {
	case cborBytes, cborText:
		_, err = c.take(argument)
	case cborArray:
		items = argument
	case cborMap:
		items = 2 * argument
	case cborTag:
		items = 1
	}
	if items > uint64(len(c.rest)) {
		return errCBOR
	}
	for ; items > 0 && err == nil; items-- {
		err = c.skip(depth + 1)
	}
	return err
}

// mapSize reads the head of a map.
func (c *cbor) mapSize() (int, error) {
	major, size, err := c.head()
	if err != nil || major != cborMap || size > uint64(len(c.rest)) {
		return 0, errCBOR
	}
	return int(size), nil
}

// attestedData finds the authenticator data in an attestation object.
func (c *cbor) attestedData() ([]byte, error) {
	size, err := c.mapSize()
	for ; size > 0 && err == nil; size-- {
		var major int
		var length uint64
		if major, length, err = c.head(); err != nil || major != cborText {
			return nil, errCBOR
		}
		var key []byte
		if key, err = c.take(length); err != nil {
			return nil, err
		}
		if string(key) != "authData" {
			err = c.skip(0)
			continue
		}
		return c.bytes()
	}
	return nil, errCBOR
}

// integer reads a number.
func (c *cbor) integer() (int64, error) {
	major, argument, err := c.head()
	if err != nil || major > cborNegative || argument > 1<<62 {
		return 0, errCBOR
	}
	if major == cborNegative {
		return -1 - int64(argument), nil
	}
	return int64(argument), nil
}

// bytes reads a byte string.
func (c *cbor) bytes() ([]byte, error) {
	major, size, err := c.head()
	if err != nil || major != cborBytes {
		return nil, errCBOR
	}
	return c.take(size)
}

// es256 reads a COSE key, which is one of ES256 and on its curve.
func (c *cbor) es256() (*ecdsa.PublicKey, error) {
	size, err := c.mapSize()
	var kind, algorithm, group, label int64
	var x, y []byte
	for ; size > 0 && err == nil; size-- {
		if label, err = c.integer(); err != nil {
			break
		}
		switch label {
		case coseType:
			kind, err = c.integer()
		case coseAlgorithm:
			algorithm, err = c.integer()
		case coseCurve:
			group, err = c.integer()
		case coseX:
			x, err = c.bytes()
		case coseY:
			y, err = c.bytes() // true or false of a compressed point, which WebAuthn has not
		default:
			err = c.skip(0)
		}
	}
	if err != nil || kind != coseEC2 || algorithm != coseES256 || group != coseP256 {
		return nil, errNotP256
	}
	return parsePoint(x, y)
}

// parsePoint makes a key of coordinates, also of such that lack leading zeros.
func parsePoint(x, y []byte) (*ecdsa.PublicKey, error) {
	var point [1 + 32 + 32]byte
	if len(x) > 32 || len(y) > 32 {
		return nil, errNotP256
	}
	point[0] = 4 // uncompressed
	copy(point[1+32-len(x):], x)
	copy(point[len(point)-len(y):], y)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point[:])
	if err != nil {
		return nil, errNotP256
	}
	return public, nil
}
