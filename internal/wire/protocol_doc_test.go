package wire

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// docs/protocol.md shows each kind of record; what it shows must be what this
// package reads and writes, to the byte.
func TestProtocolPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[Kind]bool{}
	for _, m := range regexp.MustCompile("(?s)```json (\\w+)\n(.*?)\n```").FindAllSubmatch(page, -1) {
		kind := Kind(m[1])
		shown[kind] = true
		checkExample(t, kind, m[2])
	}
	for kind := range records() {
		if !shown[kind] {
			t.Errorf("there is no example of %s", kind)
		}
	}
	for _, m := range Meanings {
		if m.Code != CodePhoneNotReachable && !strings.Contains(string(page), "`"+string(m.Code)+"`") {
			t.Errorf("%s is not mentioned", m.Code)
		}
	}
}

func checkExample(t *testing.T, kind Kind, text []byte) {
	t.Helper()
	if kind == KindPing { // the example of an envelope
		e, err := DecodeEnvelope(text)
		again, _ := json.Marshal(e)
		if err != nil || e.Kind != KindPing || !bytes.Equal(again, text) {
			t.Errorf("envelope: %v: %s", err, again)
		}
		return
	}
	model, ok := records()[kind]
	if !ok {
		t.Errorf("there is no record %s", kind)
		return
	}
	record := reflect.New(reflect.TypeOf(model).Elem()).Interface().(Checker)
	if err := DecodeBody(Envelope{Kind: kind, Body: text}, record); err != nil {
		t.Errorf("%s: %v", kind, err)
		return
	}
	if again, err := json.Marshal(record); err != nil || !bytes.Equal(again, text) {
		t.Errorf("%s: the page has\n%s\nbut it encodes to\n%s (%v)", kind, text, again, err)
	}
}
