package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// records returns a well-formed record of each kind that has a body.
func records() map[Kind]Checker {
	asking := NewAsking("computer", "laptop", noon, Window)
	key := bytes.Repeat([]byte{1}, 80)
	return map[Kind]Checker{
		KindHello:           &Hello{ProtocolVersion: Version, ProgramVersion: "1.0", DeviceName: "laptop", ClockMilliseconds: noon.UnixMilli()},
		KindPairRequest:     &PairRequest{Proof: make([]byte, 32), DeviceName: "phone", Routes: []string{"tcp:192.0.2.7:41234"}},
		KindPairResponse:    &PairResponse{Proof: make([]byte, 32), DeviceName: "laptop"},
		KindKeyListRequest:  &KeyListRequest{},
		KindKeyListResponse: &KeyListResponse{Keys: []RemoteSignerPublicKey{{Algorithm: "ssh-ed25519", PublicKeyBlob: key, Comment: "work", ProviderKind: ProviderUnknown}}},
		KindSignRequest: &RemoteSignRequest{Asking: asking, KeyAlgorithm: "ssh-ed25519", PublicKeyBlob: key, Origin: Origin, DataToSign: []byte("data"), Bindings: [][]byte{[]byte("bound")},
			Context: Context{ContextQuality: QualityUnknown, Git: &GitObject{Kind: "commit", Subject: "subject", Author: "A <a@example.com>", Repository: "repo"}}},
		KindSignResponse:        &SignResponse{RequestID: asking.RequestID, Signature: key},
		KindCertificateRequest:  &CertificateRequest{Asking: asking, PublicKeyBlob: key, RequestedValiditySeconds: 28800, Principals: []string{"root"}},
		KindCertificateResponse: &CertificateResponse{RequestID: asking.RequestID, CertificateBlob: key, CAPublicKey: key, ValidAfter: 1, ValidBefore: 2},
		KindReceived:            &Received{RequestID: asking.RequestID},
		KindCancel:              &Cancel{RequestID: asking.RequestID},
		KindError:               NewError(CodeUserDenied),
		KindDeviceTokenUpdate:   &DeviceTokenUpdate{Service: ServiceWebPush, Hub: "https://hub.example", Active: true},
	}
}

// empty returns an empty record of the same type.
func empty(c Checker) Checker { return reflect.New(reflect.TypeOf(c).Elem()).Interface().(Checker) }

func TestRecordsTravel(t *testing.T) {
	for kind, want := range records() {
		frame, err := NewFrame("id", kind, want)
		if err != nil {
			t.Fatal(err)
		}
		size, err := FrameSize([LengthPrefixSize]byte(frame))
		if err != nil || size != len(frame)-LengthPrefixSize {
			t.Fatalf("%s: size %d, %v", kind, size, err)
		}
		got, err := DecodeEnvelope(frame[LengthPrefixSize:])
		if err != nil || got.Kind != kind || got.ID != "id" || got.Version != Version {
			t.Fatalf("%s: %+v, %v", kind, got, err)
		}
		record := empty(want)
		if err := DecodeBody(got, record); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if !reflect.DeepEqual(record, want) {
			t.Errorf("%s: got %+v, want %+v", kind, record, want)
		}
	}
}

// The largest request that an SSH client can make of the agent fits on the link.
func TestLargestSignRequestFits(t *testing.T) {
	r := records()[KindSignRequest].(*RemoteSignRequest)
	r.DataToSign, r.PublicKeyBlob = make([]byte, MaxDataSize), make([]byte, MaxBlobSize)
	frame, err := NewFrame(r.RequestID, KindSignRequest, r)
	if err != nil {
		t.Fatal(err)
	}
	e, err := DecodeEnvelope(frame[LengthPrefixSize:])
	if err != nil {
		t.Fatal(err)
	}
	if err := DecodeBody(e, &RemoteSignRequest{}); err != nil {
		t.Fatal(err)
	}
}

// change sets one field of a well-formed record to what a peer must not send.
type change struct {
	kind  Kind
	field string
	value string // JSON
}

func TestMalformedRecords(t *testing.T) {
	long := `"` + strings.Repeat("a", MaxNameSize+1) + `"`
	text := func(n int) string { return `"` + strings.Repeat("AAAA", n/3+1) + `"` } // base64 of more than n bytes
	many := func(n int) string { return "[" + strings.Repeat(`"a",`, n) + `"a"]` }
	tests := []change{
		{KindHello, "protocolVersion", "0"}, {KindHello, "deviceName", long}, {KindHello, "deviceName", `"a\nb"`},
		{KindHello, "openSSHVersion", `"\u001b[2J"`}, {KindHello, "caPublicKey", text(MaxBlobSize)},
		{KindHello, "clockMilliseconds", `"now"`},
		{KindPairRequest, "proof", `"AAAA"`}, {KindPairRequest, "proof", "null"}, {KindPairRequest, "proof", text(32)},
		{KindPairRequest, "deviceName", `"\u202egnohp"`}, {KindPairRequest, "routes", many(16)},
		{KindPairResponse, "proof", `""`}, {KindPairResponse, "routes", `["a\u0000"]`},
		{KindKeyListResponse, "keys", "[" + strings.Repeat("{},", MaxKeys) + "{}]"}, {KindKeyListResponse, "keys", "[{}]"},
		{KindSignRequest, "requestID", `""`}, {KindSignRequest, "requestID", long}, {KindSignRequest, "requestID", `"a\u0007"`},
		{KindSignRequest, "nonce", `"AAAA"`}, {KindSignRequest, "nonce", "null"},
		{KindSignRequest, "expiresAtMilliseconds", "0"}, {KindSignRequest, "issuedAtMilliseconds", "-9223372036854775808"},
		{KindSignRequest, "dataToSign", `""`}, {KindSignRequest, "dataToSign", text(MaxDataSize)},
		{KindSignRequest, "dataToSign", `"not base64"`}, {KindSignRequest, "publicKeyBlob", "null"},
		{KindSignRequest, "signatureFlags", "-1"}, {KindSignRequest, "signatureFlags", "4294967296"},
		{KindSignRequest, "sourceDeviceName", `"a\u2028b"`}, {KindSignRequest, "context", `{"programs":` + many(16) + `}`},
		{KindSignRequest, "bindings", "[" + strings.Repeat(`"AAAA",`, MaxBindings) + `"AAAA"]`},
		{KindSignRequest, "bindings", `[""]`}, {KindSignRequest, "bindings", "[" + text(MaxBindingSize) + "]"},
		{KindSignRequest, "context", `{"git":{"subject":"a\u0000"}}`}, {KindSignRequest, "context", `{"git":{"repository":"a\u202e"}}`},
		{KindSignResponse, "signature", `""`}, {KindSignResponse, "error", `{"code":"userDenied"}`},
		{KindCertificateRequest, "requestedValiditySeconds", "0"}, {KindCertificateRequest, "requestedValiditySeconds", "-1"},
		{KindCertificateRequest, "principals", many(MaxPrincipals)}, {KindCertificateRequest, "publicKeyBlob", `""`},
		{KindCertificateResponse, "certificateBlob", "null"}, {KindCertificateResponse, "error", `{"code":""}`},
		{KindCertificateResponse, "validBefore", "-1"},
		{KindReceived, "requestID", "null"}, {KindCancel, "requestID", "7"},
		{KindError, "code", `""`}, {KindError, "message", long}, {KindError, "message", `"a\rb"`},
	}
	for _, test := range tests {
		if err := decodeChanged(t, test); !errors.Is(err, NewError(CodeMalformedRequest)) {
			t.Errorf("%s with %s %.40s: %v", test.kind, test.field, test.value, err)
		} else if err := err.(*Error).Check(); err != nil {
			t.Errorf("%s with %s: the answer is malformed itself: %v", test.kind, test.field, err)
		}
	}
}

func decodeChanged(t *testing.T, c change) error {
	t.Helper()
	record := records()[c.kind]
	b, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	fields[c.field] = json.RawMessage(c.value)
	if b, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	return DecodeBody(Envelope{Kind: c.kind, Body: b}, empty(record))
}

// What a peer sent never comes back in an error: it may be a secret, and the
// error goes to a log.
func TestErrorsDoNotRepeatInput(t *testing.T) {
	const secret = "TOPSECRET"
	for _, body := range []string{`{"requestID":"x","nonce":"` + secret + `!"}`, `{"nonce":{"` + secret + `":1}}`,
		`"` + secret + `"`, secret, `{"signatureFlags":"` + secret + `"}`, `{"issuedAtMilliseconds":"` + secret + `"}`} {
		err := DecodeBody(Envelope{Version: 1, ID: "id", Kind: KindSignRequest, Body: json.RawMessage(body)}, &RemoteSignRequest{})
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", body, err)
		}
		_, err = DecodeEnvelope([]byte(`{"version":` + body + `}`))
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("envelope: %v", err)
		}
	}
}

func TestWindowCannotOverflow(t *testing.T) {
	a := NewAsking("d", "n", noon, Window)
	a.IssuedAtMilliseconds, a.ExpiresAtMilliseconds = math.MinInt64, math.MaxInt64
	if a.check() == nil {
		t.Error("accepted a window whose length overflows")
	}
}

func TestShow(t *testing.T) {
	inputs := []string{"", "phone", "a\x00b", "\x1b[31mred", "\u202eevil", "a\u2028b", "\xff\xfe",
		strings.Repeat("\x01", 300), strings.Repeat("é", 200), "a" + strings.Repeat("é", 200),
		strings.Repeat("\xff", 1000), strings.Repeat("😀", 100), strings.Repeat("a", 10000)}
	for _, s := range inputs {
		checkShow(t, s)
	}
	for _, s := range []string{"Zoë's phone 📱", "Ada’s ❤️ phone", "日本語", "ابجد", "Nguyễn Ả", "prod-1.example.com"} {
		if got := Show(s); got != s || !Printable(s) {
			t.Errorf("%q can be shown, and became %q", s, got)
		}
	}
}

// What is drawn as nothing, or as a blank, lets one name look like another; blanks
// beside each other imitate the columns of a sheet; a pile of marks is drawn over
// the lines around it.
func TestShowHidesNothing(t *testing.T) {
	nothing := "\u0378\uffff\U000107fe" // code points that stand for no character
	if runtime.GOOS == "js" {
		nothing = "" // the page finds them
	}
	for _, r := range "\u00ad\u034f\u061c\u115f\u1160\u17b4\u180b\u180e\u200b\u200d\u2060\u2064\u2065\u2800\u3164\ufe00\ufe0f\ufeff\uffa0\ufff0" +
		"\U0001bca0\U0001d159\U0001d173\U000e0001\U000e0041\U000e0100\U000e0fff" + nothing {
		for _, s := range []string{"pro" + string(r) + "d", string(r) + "prod", "prod" + string(r)} {
			if want := strings.ReplaceAll(s, string(r), "\uFFFD"); Printable(s) || Show(s) != want {
				t.Errorf("%U: %q is shown as %q", r, s, Show(s))
			}
		}
	}
	for _, r := range " \u00a0\u1680\u2000\u2003\u2007\u200a\u202f\u205f\u3000" {
		if got := Show(string(r) + "a" + string(r) + " " + string(r) + "b" + string(r)); got != "a b" {
			t.Errorf("%U: shown as %q", r, got)
		}
	}
	if got := Show("a" + strings.Repeat("\u0301", 40) + "b"); strings.Count(got, "\u0301") != maxMarks || !strings.HasSuffix(got, "\uFFFDb") {
		t.Errorf("forty marks: %q", got)
	}
}

func checkShow(t *testing.T, s string) {
	t.Helper()
	got := Show(s)
	if err := checkText("text", got); err != nil {
		t.Errorf("Show(%q): %v", s, err)
	}
	if !Printable(got) || Show(got) != got {
		t.Errorf("Show(%q) = %q, which is not settled", s, got)
	}
	if Printable(s) && len(s) <= MaxNameSize && got != strings.Join(strings.Fields(s), " ") {
		t.Errorf("Show(%q) = %q, though it could be shown", s, got)
	}
}

func FuzzShow(f *testing.F) {
	f.Add("phone")
	f.Add(strings.Repeat("\x01", 300))
	f.Fuzz(checkShow)
}

// Whatever decodes encodes to what decodes to the same.
func FuzzDecodeBody(f *testing.F) {
	for kind, record := range records() {
		b, err := json.Marshal(record)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(kind), b)
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		model, ok := records()[Kind(kind)]
		if !ok {
			return
		}
		first, second := empty(model), empty(model)
		err := DecodeBody(Envelope{Kind: Kind(kind), Body: body}, first)
		if err != nil {
			if !errors.Is(err, NewError(CodeMalformedRequest)) || err.(*Error).Check() != nil {
				t.Fatalf("%s: not an error to answer with: %v", kind, err)
			}
			return
		}
		once, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := DecodeBody(Envelope{Kind: Kind(kind), Body: once}, second); err != nil {
			t.Fatalf("%s: %s decodes and encodes to %s, which does not: %v", kind, body, once, err)
		}
		again, err := json.Marshal(second)
		if err != nil || !bytes.Equal(once, again) {
			t.Errorf("%s: got %s, want %s (%v)", kind, again, once, err)
		}
	})
}
