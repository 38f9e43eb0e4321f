package hubwire

import (
	"encoding/json"
	"reflect"
	"testing"

	"vmux/internal/device"
)

// FuzzParseMessage: what is accepted keeps its limits, and means the same when it
// is written and read again.
func FuzzParseMessage(f *testing.F) {
	id := device.ID{1}
	for _, m := range []Message{
		{Type: TypeChallenge, Challenge: make([]byte, ChallengeSize), Origin: "https://hub.example"},
		{Type: TypeProof, PublicKey: []byte{1}, Signature: []byte{2}, Allow: []device.ID{id}},
		{Type: TypePresence, Peer: &id, Online: true},
		{Type: TypeRendezvous, ID: 7, Token: make([]byte, TokenSize), Seconds: 300},
		{Type: TypeSubscribe, ID: 8, Subscription: json.RawMessage(`{"endpoint":"https://push.example"}`)},
		{Type: TypeError, Code: CodeBusy, Message: "later"},
	} {
		b, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			return
		}
		if len(m.Allow) > MaxAllowed || len(m.Subscription) > MaxSubscription || len(b) > MaxMessage {
			t.Fatal("over a limit")
		}
		m.Subscription = nil // is written without its spaces
		written, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseMessage(written)
		if err != nil && len(written) <= MaxMessage {
			t.Fatalf("%s: %v", written, err)
		}
		rewritten, err := json.Marshal(again)
		if err != nil || len(written) <= MaxMessage && !reflect.DeepEqual(written, rewritten) {
			t.Fatalf("%s becomes %s, %v", written, rewritten, err)
		}
	})
}
