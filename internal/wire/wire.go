// Package wire is the vocabulary that a computer's agent and a phone speak on a
// link: envelopes, records and error codes, with their limits and checks.
// It does no I/O, keeps no clock and holds no secrets.
package wire

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Version is the protocol version that this program speaks. It stands in each
// envelope and in each hello.
const Version = 1

// Limits of the link protocol. A peer that passes one is cut off or refused
// before anything of that size is allocated.
const (
	// MaxEnvelopeSize bounds one encoded envelope, without its length prefix.
	MaxEnvelopeSize = 512 << 10
	// LengthPrefixSize is the big-endian uint32 in front of each envelope.
	LengthPrefixSize = 4
	// MaxIDSize bounds an envelope's id and a requestID, in bytes.
	MaxIDSize = 64
	// MaxNameSize bounds device names, labels and comments, in bytes.
	MaxNameSize = 256
	// MaxBlobSize bounds a public key, certificate or signature blob.
	MaxBlobSize = 32 << 10
	// MaxDataSize bounds the bytes that an SSH client asks to have signed.
	// The agent's frames are at most 256 KiB, so nothing larger can arrive.
	MaxDataSize = 256 << 10
	// MaxKeys bounds the identities in one keyListResponse.
	MaxKeys = 256
	// MaxHosts bounds the servers that a keyListResponse names for one identity.
	MaxHosts = 16
	// MaxPrincipals bounds the principals that a certificateRequest names.
	MaxPrincipals = 64
	// MaxBindings bounds the session bindings of one request, as OpenSSH's agent
	// does, and MaxBindingSize each of them in bytes: a host key or certificate
	// and a signature.
	MaxBindings    = 16
	MaxBindingSize = 8 << 10
	// MaxRevoked bounds the serials of revoked certificates in a hello.
	MaxRevoked = 256
	// NonceSize is the exact size of a request's nonce.
	NonceSize = 32
)

// Kind names what an envelope's body is.
type Kind string

// The kinds of envelope.
const (
	KindHello               Kind = "hello"
	KindPairRequest         Kind = "pairRequest"
	KindPairResponse        Kind = "pairResponse"
	KindKeyListRequest      Kind = "keyListRequest"
	KindKeyListResponse     Kind = "keyListResponse"
	KindSignRequest         Kind = "signRequest"
	KindSignResponse        Kind = "signResponse"
	KindCertificateRequest  Kind = "certificateRequest"
	KindCertificateResponse Kind = "certificateResponse"
	KindReceived            Kind = "received"
	KindCancel              Kind = "cancel"
	KindDeviceTokenUpdate   Kind = "deviceTokenUpdate"
	KindPing                Kind = "ping"
	KindPong                Kind = "pong"
	KindError               Kind = "error"
)

// Known reports whether this version of the protocol has the kind. Others are
// answered with CodeVersionUnsupported and ignored.
func (k Kind) Known() bool { return slices.Contains(kinds, k) }

var kinds = []Kind{
	KindPing, KindPong, KindHello, KindPairRequest, KindPairResponse,
	KindKeyListRequest, KindKeyListResponse, KindSignRequest, KindSignResponse,
	KindCertificateRequest, KindCertificateResponse, KindReceived, KindCancel, KindDeviceTokenUpdate, KindError,
}

// Envelope is the RemoteSignerEnvelope: one message on a link.
//
// ID correlates: an answer (a response, a pong, an error) carries the ID of the
// envelope it answers. For signRequest and certificateRequest, and for the
// received and cancel that belong to them, it is the requestID.
type Envelope struct {
	Version int             `json:"version"`
	ID      string          `json:"id"`
	Kind    Kind            `json:"kind"`
	Body    json.RawMessage `json:"body,omitempty"`
}

// ErrTooLarge is returned for an envelope over MaxEnvelopeSize.
var ErrTooLarge = errors.New("envelope over 512 KiB")

// NewFrame makes an envelope of this protocol version, with body as its JSON, as it
// stands on a link: a 4-byte big-endian length and that many bytes of JSON. A nil body
// is left out. Over MaxEnvelopeSize it returns ErrTooLarge.
func NewFrame(id string, kind Kind, body any) ([]byte, error) {
	b, err := json.Marshal(struct {
		Version int    `json:"version"`
		ID      string `json:"id"`
		Kind    Kind   `json:"kind"`
		Body    any    `json:"body,omitempty"`
	}{Version, id, kind, body})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", kind, err)
	}
	if len(b) > MaxEnvelopeSize {
		return nil, ErrTooLarge
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...), nil
}

// FrameSize reads a length prefix and returns the size of the envelope behind
// it. Zero and anything over MaxEnvelopeSize are errors.
func FrameSize(prefix [LengthPrefixSize]byte) (int, error) {
	n := binary.BigEndian.Uint32(prefix[:])
	if n > MaxEnvelopeSize {
		return 0, ErrTooLarge
	}
	if n == 0 {
		return 0, errors.New("empty envelope")
	}
	return int(n), nil
}

// DecodeEnvelope reads one envelope without its length prefix. Unknown fields
// are ignored; anything behind the JSON object is an error. The kind is not
// checked: see Kind.Known.
func DecodeEnvelope(b []byte) (Envelope, error) {
	if len(b) > MaxEnvelopeSize {
		return Envelope{}, ErrTooLarge
	}
	var e Envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return Envelope{}, fmt.Errorf("decode envelope: %w", redact(err))
	}
	switch {
	case e.Version < 1:
		return Envelope{}, errors.New("decode envelope: no version")
	case e.ID == "" || len(e.ID) > MaxIDSize:
		return Envelope{}, errors.New("decode envelope: id missing or too long")
	case e.Kind == "" || len(e.Kind) > MaxIDSize:
		return Envelope{}, errors.New("decode envelope: kind missing or too long")
	case !Printable(e.ID) || !Printable(string(e.Kind)): // both reach logs and terminals
		return Envelope{}, errors.New("decode envelope: id or kind cannot be shown")
	}
	return e, nil
}

// Checker is a record that can tell whether what a peer sent is well formed.
type Checker interface{ Check() error }

// DecodeBody reads an envelope's body into record and checks it. Every failure
// is a *Error with CodeMalformedRequest, whose message says what is wrong
// without repeating what was sent.
func DecodeBody(e Envelope, record Checker) error {
	body := e.Body
	if len(body) == 0 {
		body = json.RawMessage("{}")
	}
	if err := json.Unmarshal(body, record); err != nil {
		return Errorf(CodeMalformedRequest, "%s: %v", e.Kind, redact(err))
	}
	if err := record.Check(); err != nil {
		return Errorf(CodeMalformedRequest, "%s: %v", e.Kind, err)
	}
	return nil
}

// redact keeps what a peer sent out of error texts: encoding/json repeats
// offending values, and a log is no place for them.
func redact(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	var b64 base64.CorruptInputError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("wrong type at byte %d", kind.Offset)
	case errors.As(err, &b64):
		return errors.New("not base64")
	}
	return errors.New("not the expected JSON")
}

// NewID returns a random UUID (version 4, RFC 9562) for an envelope or request.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// NewNonce returns NonceSize random bytes.
func NewNonce() []byte {
	b := make([]byte, NonceSize)
	_, _ = rand.Read(b)
	return b
}
