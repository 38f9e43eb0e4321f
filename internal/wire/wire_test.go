package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestDecodeEnvelopeRefuses(t *testing.T) {
	tests := map[string]string{
		"nothing":              ``,
		"null":                 `null`,
		"a list":               `[]`,
		"no version":           `{"id":"a","kind":"ping"}`,
		"version 0":            `{"version":0,"id":"a","kind":"ping"}`,
		"a negative version":   `{"version":-1,"id":"a","kind":"ping"}`,
		"a version in text":    `{"version":"1","id":"a","kind":"ping"}`,
		"no id":                `{"version":1,"kind":"ping"}`,
		"a long id":            `{"version":1,"id":"` + strings.Repeat("a", MaxIDSize+1) + `","kind":"ping"}`,
		"an id for terminals":  `{"version":1,"id":"a\u001b[2J","kind":"ping"}`,
		"no kind":              `{"version":1,"id":"a"}`,
		"a long kind":          `{"version":1,"id":"a","kind":"` + strings.Repeat("a", MaxIDSize+1) + `"}`,
		"a kind of two lines":  `{"version":1,"id":"a","kind":"ping\nlevel=INFO"}`,
		"bytes behind it":      `{"version":1,"id":"a","kind":"ping"}x`,
		"two envelopes":        `{"version":1,"id":"a","kind":"ping"}{"version":1,"id":"a","kind":"ping"}`,
		"deep nesting":         `{"version":1,"id":"a","kind":"ping","body":` + strings.Repeat("[", 100000) + `}`,
		"one byte over limits": strings.Repeat(" ", MaxEnvelopeSize+1),
	}
	for name, text := range tests {
		if e, err := DecodeEnvelope([]byte(text)); err == nil {
			t.Errorf("%s: decoded to %+v", name, e)
		}
	}
}

// A newer version of the protocol may add fields and kinds.
func TestDecodeEnvelopeOfTomorrow(t *testing.T) {
	e, err := DecodeEnvelope([]byte(`{"version":2,"id":"a","kind":"brandNew","body":{"x":1},"extra":[]}`))
	if err != nil || e.Kind.Known() || e.Version != 2 {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestFrameSize(t *testing.T) {
	for size, want := range map[uint32]bool{0: false, 1: true, MaxEnvelopeSize: true, MaxEnvelopeSize + 1: false, 1<<32 - 1: false} {
		prefix := [4]byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
		got, err := FrameSize(prefix)
		if (err == nil) != want || err == nil && got != int(size) {
			t.Errorf("%d: %d, %v", size, got, err)
		}
	}
}

func TestNewFrame(t *testing.T) {
	for body, want := range map[any]string{
		nil:                      `{"version":1,"id":"i\"d","kind":"cancel"}`,
		Cancel{RequestID: "a<b"}: `{"version":1,"id":"i\"d","kind":"cancel","body":{"requestID":"a\u003cb"}}`,
	} {
		got, err := NewFrame("i\"d", KindCancel, body)
		if err != nil || string(got) != "\x00\x00\x00"+string(rune(len(want)))+want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if _, err := NewFrame("id", KindCancel, strings.Repeat("x", MaxEnvelopeSize)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func TestEveryCodeHasOneMeaning(t *testing.T) {
	seen := map[Code]bool{}
	for _, m := range Meanings {
		if seen[m.Code] || m.Sentence == "" || m.Hint == "" || m.Exit == ExitDone || m.Exit == ExitUsage {
			t.Errorf("%+v", m)
		}
		seen[m.Code] = true
		if !Printable(m.Sentence) || NewError(m.Code).Check() != nil {
			t.Errorf("%s cannot travel", m.Code)
		}
	}
	if m := MeaningOf("newer"); m.Code != "newer" || m.Exit != ExitFailed {
		t.Errorf("got %+v", m)
	}
}

func TestCodeOf(t *testing.T) {
	denied := fmt.Errorf("sign: %w", NewError(CodeUserDenied))
	tests := []struct {
		err  error
		want Code
	}{
		{nil, ""}, {denied, CodeUserDenied}, {errors.New("disk"), CodeInternalError},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), CodeRequestExpired},
	}
	for _, test := range tests {
		if got := CodeOf(test.err); got != test.want {
			t.Errorf("%v: %s, want %s", test.err, got, test.want)
		}
	}
	if !errors.Is(denied, NewError(CodeUserDenied)) || errors.Is(denied, NewError(CodeKeyDisabled)) {
		t.Error("errors.Is does not go by the code")
	}
	if got := AsError(errors.New("open /home/user/secret")); strings.Contains(got.Message, "/home") {
		t.Errorf("told a peer: %s", got.Message)
	}
}

func TestNewID(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := NewID()
		if !uuid.MatchString(id) || seen[id] {
			t.Fatalf("%q", id)
		}
		seen[id] = true
	}
	if a, b := NewNonce(), NewNonce(); len(a) != NonceSize || bytes.Equal(a, b) {
		t.Errorf("nonces %x, %x", a, b)
	}
}

func frameOf(e Envelope) ([]byte, error) {
	if e.Body == nil {
		return NewFrame(e.ID, e.Kind, nil)
	}
	return NewFrame(e.ID, e.Kind, e.Body)
}

// Whatever decodes encodes to what decodes to the same, in one frame.
func FuzzDecodeEnvelope(f *testing.F) {
	for kind, record := range records() {
		frame, err := NewFrame("id", kind, record)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame[LengthPrefixSize:])
	}
	f.Add([]byte(`{"version":1,"id":"a","kind":"ping"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEnvelope(b)
		if err != nil {
			return
		}
		frame, err := frameOf(e)
		if errors.Is(err, ErrTooLarge) {
			return // JSON may grow: "<" becomes "\u003c"
		}
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		again, err := DecodeEnvelope(frame[LengthPrefixSize:])
		if err != nil || again.ID != e.ID || again.Kind != e.Kind {
			t.Fatalf("%q: got %+v, want %+v (%v)", b, again, e, err)
		}
		second, err := frameOf(again)
		if err != nil || !bytes.Equal(frame, second) {
			t.Errorf("%q: got %q, want %q", b, second, frame)
		}
	})
}
