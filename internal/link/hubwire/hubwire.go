// Package hubwire is the vocabulary of a device and its hub: what goes over the
// one WebSocket that a device keeps. Text messages are JSON and concern the
// hub; binary messages are pieces of byte streams between devices, whose
// contents (TLS) the hub cannot read. It does no I/O.
package hubwire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"vmux/internal/device"
)

const (
	// Path is where a hub serves its WebSocket, below its public URL.
	Path = "/v1/connect"
	// Subprotocol is the WebSocket subprotocol that both sides insist on.
	Subprotocol = "vmux-hub.v1"

	// MaxData bounds the payload of one data frame in bytes. TLS records are at
	// most 16 KiB and a little; writers split what is longer.
	MaxData = 32 << 10
	// MaxMessage bounds one WebSocket message in bytes, of either type.
	MaxMessage = 64 << 10
	// MaxAllowed bounds the devices that one may allow to reach it.
	MaxAllowed = device.MaxPeers
	// ChallengeSize and TokenSize are exact, in bytes.
	ChallengeSize = 32
	TokenSize     = 32
	// MaxSubscription bounds a Web Push subscription, in bytes of JSON.
	MaxSubscription = 4 << 10

	// HeaderSize is what stands before a frame's payload, in bytes.
	HeaderSize = 1 + len(device.ID{}) + 8
)

// Type names what a text message is.
type Type string

// The types of text messages. The first three are the beginning of each
// connection, in this order: hub, device, hub.
const (
	TypeChallenge Type = "challenge" // hub: Challenge, Origin
	TypeProof     Type = "proof"     // device: PublicKey, Signature, Allow
	TypeWelcome   Type = "welcome"   // hub: VAPIDKey

	TypeAllow      Type = "allow"      // device: Allow, which replaces what was allowed before
	TypePresence   Type = "presence"   // hub: Peer, Online; told of devices that both allow each other
	TypeRendezvous Type = "rendezvous" // device: Token, Seconds; no Token ends it
	TypeSubscribe  Type = "subscribe"  // device: Subscription; none ends it
	TypeWake       Type = "wake"       // device: Peer
	TypePing       Type = "ping"       // device: nothing; a page cannot send WebSocket pings, nor see them
	TypeDone       Type = "done"       // hub: answers the request of the same ID
	TypeError      Type = "error"      // hub: Code, Message; without ID it is about the connection, which ends
)

// Message is one text message. Which fields it has, its type says. Requests of
// the device (allow, rendezvous, subscribe, wake, ping) carry an ID of its
// choice that is not zero, and are answered with done or error of that ID. A hub
// ignores types that it does not know, and so does a device.
type Message struct {
	Type Type   `json:"type"`
	ID   uint64 `json:"id,omitempty"`

	Challenge []byte `json:"challenge,omitempty"`
	Origin    string `json:"origin,omitempty"` // of the hub's public URL: scheme://host[:port]

	PublicKey []byte      `json:"publicKey,omitempty"` // SubjectPublicKeyInfo, whose SHA-256 is the device ID
	Signature []byte      `json:"signature,omitempty"` // ECDSA in ASN.1 over SHA-256 of SignedBytes
	Allow     []device.ID `json:"allow,omitempty"`

	VAPIDKey string `json:"vapidKey,omitempty"` // unpadded base64url, uncompressed point

	Peer   *device.ID `json:"peer,omitempty"`
	Online bool       `json:"online,omitempty"`

	Token   []byte `json:"token,omitempty"`
	Seconds int    `json:"seconds,omitempty"` // how long the token can be used

	Subscription json.RawMessage `json:"subscription,omitempty"` // PushSubscription.toJSON() of the Push API

	Code    Code   `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

// Code says why a hub refuses.
type Code string

// The codes. CodeReplaced: the same device has connected anew.
const (
	CodeMalformed     Code = "malformed"
	CodeBadProof      Code = "badProof"
	CodeReplaced      Code = "replaced"
	CodeBusy          Code = "busy"          // over a limit; later it may work
	CodeNotSubscribed Code = "notSubscribed" // the device to wake has no subscription, or does not allow this one
	CodeClosing       Code = "closing"       // the hub ends
	// CodeSubscriptionDead answers TypeSubscribe: the push service has ended this
	// subscription. The app unsubscribes, waits a little and subscribes anew.
	CodeSubscriptionDead Code = "subscriptionDead"
	CodeInternal         Code = "internal"
)

// SignedBytes is what a device signs to prove its ID: bound to one challenge of
// one hub, and like nothing that TLS (64 spaces first) or SSH has signed.
func SignedBytes(origin string, challenge []byte) []byte {
	return append([]byte("vmux hub v1\x00"+origin+"\x00"), challenge...)
}

// Kind is what a frame does with its stream.
type Kind byte

// The kinds of frames.
const (
	// KindOpen opens a stream. Its payload is empty, or the rendezvous token
	// of the peer, which lets one stream of an unpaired device pass.
	KindOpen Kind = 1
	// KindData carries up to MaxData bytes.
	KindData Kind = 2
	// KindClose ends a stream in both directions. Its payload is one Reason.
	KindClose Kind = 3
)

// Reason is why a stream ended.
type Reason byte

// The reasons. All but the first are the hub's own.
const (
	ReasonClosed     Reason = 0 // by the other device
	ReasonUnreached  Reason = 1 // offline, or it does not allow this one: the two look the same
	ReasonWrongToken Reason = 2 // wrong, used or expired
	ReasonSlow       Reason = 3 // the other device reads too slowly
	ReasonBusy       Reason = 4 // too many streams
)

// String says the reason in words.
func (r Reason) String() string {
	switch r {
	case ReasonClosed:
		return "closed by the other device"
	case ReasonUnreached:
		return "the device is not at the hub"
	case ReasonWrongToken:
		return "the invitation was used or has ended"
	case ReasonSlow:
		return "the device reads too slowly"
	case ReasonBusy:
		return "too many streams"
	}
	return fmt.Sprintf("reason %d", byte(r))
}

// Frame is one binary message: the kind in one byte, the other device's ID in
// 32, the stream in 8, and the payload. A device names whom it writes to; the
// hub puts the sender's ID in its place. Stream is chosen at random by the
// device that opens it; it and the other device's ID name a stream together.
type Frame struct {
	Kind    Kind
	Peer    device.ID
	Stream  uint64
	Payload []byte
}

// Errors of decoding.
var (
	ErrFrame   = errors.New("malformed frame")
	ErrMessage = errors.New("malformed message")
)

// Append appends the encoded frame to b.
func (f Frame) Append(b []byte) []byte {
	b = append(b, byte(f.Kind))
	b = append(b, f.Peer[:]...)
	b = binary.BigEndian.AppendUint64(b, f.Stream)
	return append(b, f.Payload...)
}

// ParseFrame reads a binary message. Payload is a part of b. What it accepts,
// Append writes again byte by byte.
func ParseFrame(b []byte) (Frame, error) {
	if len(b) < HeaderSize {
		return Frame{}, ErrFrame
	}
	f := Frame{Kind: Kind(b[0]), Stream: binary.BigEndian.Uint64(b[HeaderSize-8 : HeaderSize]), Payload: b[HeaderSize:]}
	copy(f.Peer[:], b[1:])
	n := len(f.Payload)
	ok := false
	switch f.Kind {
	case KindOpen:
		ok = n == 0 || n == TokenSize
	case KindData:
		ok = n > 0 && n <= MaxData
	case KindClose:
		ok = n == 1
	}
	if !ok {
		return Frame{}, ErrFrame
	}
	return f, nil
}

// SetPeer puts another device's ID into an encoded frame, in place.
func SetPeer(b []byte, id device.ID) { copy(b[1:], id[:]) }

// ParseMessage reads a text message and checks its sizes. Unknown fields are
// ignored; whether a type is known, and what must be in it, the reader decides.
func ParseMessage(b []byte) (Message, error) {
	var m Message
	if len(b) > MaxMessage || json.Unmarshal(b, &m) != nil || m.Type == "" ||
		len(m.Allow) > MaxAllowed || len(m.Subscription) > MaxSubscription ||
		len(m.Challenge) != 0 && len(m.Challenge) != ChallengeSize ||
		len(m.Token) != 0 && len(m.Token) != TokenSize {
		return Message{}, ErrMessage
	}
	return m, nil
}
