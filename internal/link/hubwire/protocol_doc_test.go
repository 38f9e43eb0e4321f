package hubwire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"os"
	"regexp"
	"testing"
)

// docs/protocol.md shows each type of message; what it shows must be what this
// package reads and writes, to the byte, and the proof must answer the challenge.
func TestProtocolPage(t *testing.T) {
	page, err := os.ReadFile("../../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[Type]Message{}
	for _, m := range regexp.MustCompile("(?s)```jsonc (\\w+)\n(.*?)\n```").FindAllSubmatch(page, -1) {
		read, err := ParseMessage(m[2])
		again, _ := json.Marshal(read)
		if err != nil || string(read.Type) != string(m[1]) || !bytes.Equal(again, m[2]) {
			t.Errorf("%s: the page has\n%s\nbut it encodes to\n%s (%v)", m[1], m[2], again, err)
		}
		shown[read.Type] = read
	}
	for _, want := range []Type{
		TypeChallenge, TypeProof, TypeWelcome, TypeAllow, TypePresence, TypeRendezvous,
		TypeSubscribe, TypeWake, TypePing, TypeDone, TypeError,
	} {
		if _, ok := shown[want]; !ok {
			t.Errorf("there is no example of %s", want)
		}
	}
	for _, code := range []Code{CodeMalformed, CodeBadProof, CodeReplaced, CodeBusy, CodeNotSubscribed, CodeClosing, CodeInternal} {
		if !bytes.Contains(page, []byte("`"+code+"`")) {
			t.Errorf("%s is not mentioned", code)
		}
	}
	challenge, proof := shown[TypeChallenge], shown[TypeProof]
	key, err := x509.ParsePKIXPublicKey(proof.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(SignedBytes(challenge.Origin, challenge.Challenge))
	if !ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), digest[:], proof.Signature) {
		t.Error("the proof does not answer the challenge")
	}
	checkFrames(t, page)
}

func checkFrames(t *testing.T, page []byte) {
	t.Helper()
	var kinds []Kind
	for _, m := range regexp.MustCompile("```hex\n(.*?)\n```").FindAllSubmatch(page, -1) {
		b, err := hex.DecodeString(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		f, err := ParseFrame(b)
		if err != nil || !bytes.Equal(f.Append(nil), b) {
			t.Errorf("%s: %+v, %v", m[1], f, err)
		}
		kinds = append(kinds, f.Kind)
	}
	if !bytes.Equal([]byte{byte(KindOpen), byte(KindData), byte(KindClose)}, kindBytes(kinds)) {
		t.Errorf("frames of kinds %v", kinds)
	}
}

func kindBytes(kinds []Kind) (b []byte) {
	for _, k := range kinds {
		b = append(b, byte(k))
	}
	return b
}
