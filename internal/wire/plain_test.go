package wire

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// asJSON is what encoding/json makes of an envelope.
func asJSON(b []byte) (e Envelope, err error) {
	err = json.Unmarshal(b, &e)
	return e, err
}

func plainSeeds() [][]byte {
	seeds := [][]byte{
		[]byte(`{"version":1,"id":"a","kind":"ping"}`),
		[]byte(`{"version":1,"id":"a","kind":"ping","body":{}}`),
		[]byte(`{"version":1,"id":"a","kind":"ping","body":null}`),
		[]byte(`{"version":1,"id":"a","kind":"x","body":{"a":[1,-2,0,true,false,null,"é"],"b":{"c":[]}}}`),
		[]byte(`{"version":1,"id":"a","kind":"x","body":{"a":1},"kind":"y"}`),
		[]byte(`{"version":1,"id":"a","kind":"x","body":{"a":1.5,"b":1e9}}`),
		[]byte(`{"version":1,"id":"a","kind":"x","body":[01]}`),
		[]byte(`{"version":1,"id":"a","kind":"x","body":-}`),
		[]byte(`{"version":1,"id":"a","kind":"x","body":[1,]}`),
		[]byte(`{"version":1,"id":"a","kind":"x","body":{"a":1,}}`),
		[]byte(`{"version":1,"id":"a","kind":"x","body":{"a"}}`),
		[]byte(`{"version":1,"id":"a","kind":"x","body":"\u0041"}`),
		[]byte("{\"version\":1,\"id\":\"a\",\"kind\":\"x\",\"body\":\"\x01\"}"),
		[]byte("{\"version\":1,\"id\":\"a\",\"kind\":\"x\",\"body\":\"\xff\"}"),
		[]byte(`{"version":1,"id":"a","kind":"x","body":{}}}`),
		[]byte(`{"version":1,"id":"a","kind":"x","body":{}} `),
		[]byte(`{"version":1,"id":"a\"","kind":"x"}`),
		[]byte(`{"version":1,"id":"","kind":"x"}`),
		[]byte(`{"version":10,"id":"a","kind":"x"}`),
	}
	for _, r := range records() {
		e, err := NewEnvelope("id", "kind", r)
		if err != nil {
			panic(err)
		}
		b, err := json.Marshal(e)
		if err != nil {
			panic(err)
		}
		seeds = append(seeds, b)
	}
	return seeds
}

// FuzzDecodePlain: what is read without encoding/json, that reads the same way.
func FuzzDecodePlain(f *testing.F) {
	for _, b := range plainSeeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := decodePlain(b)
		if !ok {
			return
		}
		want, err := asJSON(b)
		if err != nil || !reflect.DeepEqual(e, want) {
			t.Errorf("%q\nplainly: %+v\nas JSON: %+v, %v", b, e, want, err)
		}
	})
}

// TestDecodePlain: what this program writes is read plainly, and what is one
// byte away from it is not read as anything that encoding/json would not read.
func TestDecodePlain(t *testing.T) {
	check := func(b []byte) {
		if e, ok := decodePlain(b); ok {
			if want, err := asJSON(b); err != nil || !reflect.DeepEqual(e, want) {
				t.Errorf("%q\nplainly: %+v\nas JSON: %+v, %v", b, e, want, err)
			}
		}
	}
	for _, b := range plainSeeds() {
		for i := range b {
			check(b[:i])
			for _, c := range []byte("\"\\{}[]:,0-. \n\x00x\xff") {
				changed := bytes.Clone(b)
				changed[i] = c
				check(changed)
			}
		}
	}
	for kind, r := range records() {
		e, err := NewEnvelope(NewID(), kind, r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(e)
		if _, ok := decodePlain(b); err != nil || !ok && !bytes.Contains(b, []byte(`\`)) {
			t.Errorf("%s is not written plainly: %s", kind, b)
		}
	}
	if _, ok := decodePlain([]byte(`{"version":1,"id":"a","kind":"x","body":` + strings.Repeat("[", 100000))); ok {
		t.Error("nesting without end was read")
	}
}
