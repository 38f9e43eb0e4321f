package hubwire

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"vmux/internal/device"
)

// FuzzParseFrame: what is accepted encodes to the same bytes.
func FuzzParseFrame(f *testing.F) {
	f.Add(Frame{Kind: KindOpen}.Append(nil))
	f.Add(Frame{Kind: KindOpen, Payload: make([]byte, TokenSize)}.Append(nil))
	f.Add(Frame{Kind: KindData, Peer: device.ID{1}, Stream: 7, Payload: []byte("x")}.Append(nil))
	f.Add(Frame{Kind: KindClose, Payload: []byte{1}}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := ParseFrame(b)
		if err == nil && !bytes.Equal(frame.Append(nil), b) {
			t.Errorf("%x becomes %x", b, frame.Append(nil))
		}
	})
}

func TestParseFrameRefuses(t *testing.T) {
	for name, bad := range map[string][]byte{
		"empty":       {},
		"short":       Frame{Kind: KindOpen}.Append(nil)[:40],
		"kind 0":      Frame{}.Append(nil),
		"kind 4":      Frame{Kind: 4, Payload: []byte{1}}.Append(nil),
		"token short": Frame{Kind: KindOpen, Payload: make([]byte, TokenSize-1)}.Append(nil),
		"no data":     Frame{Kind: KindData}.Append(nil),
		"too much":    Frame{Kind: KindData, Payload: make([]byte, MaxData+1)}.Append(nil),
		"no reason":   Frame{Kind: KindClose}.Append(nil),
		"two reasons": Frame{Kind: KindClose, Payload: []byte{0, 0}}.Append(nil),
	} {
		if _, err := ParseFrame(bad); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseMessageRefuses(t *testing.T) {
	ids := make([]device.ID, MaxAllowed+1)
	many, err := json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"nothing":        "",
		"no type":        "{}",
		"no object":      "[]",
		"two":            `{"type":"done"}{"type":"done"}`,
		"wrong type":     `{"type":1}`,
		"challenge":      `{"type":"challenge","challenge":"AAAA"}`,
		"token":          `{"type":"rendezvous","token":"AAAA"}`,
		"peer":           `{"type":"presence","peer":"AAAA"}`,
		"allow":          `{"type":"allow","allow":` + string(many) + `}`,
		"subscription":   `{"type":"subscribe","subscription":"` + strings.Repeat("a", MaxSubscription) + `"}`,
		"over the limit": `{"type":"done","x":"` + strings.Repeat("a", MaxMessage) + `"}`,
	} {
		if _, err := ParseMessage([]byte(bad)); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if m, err := ParseMessage([]byte(`{"type":"done","id":7,"later":true}`)); err != nil || m.ID != 7 {
		t.Errorf("%+v, %v", m, err)
	}
}

// What a device signs for one hub is nothing to another, nor for TLS.
func TestSignedBytes(t *testing.T) {
	one := SignedBytes("https://a.example", make([]byte, ChallengeSize))
	if bytes.Equal(one, SignedBytes("https://b.example", make([]byte, ChallengeSize))) || bytes.HasPrefix(one, []byte("    ")) {
		t.Errorf("%q", one)
	}
}
