package browserphone

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/browserphone/sheets"
	"vmux/internal/device"
	"vmux/internal/signer/identity"
	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

const (
	host   = "hub.example"
	origin = "https://hub.example"
)

// page is a phone and the browser around it: it makes the WebAuthn calls that
// are planned, with a credential of its own for each.
type page struct {
	*Phone
	t        *testing.T
	computer device.Peer
	keys     map[string]*ecdsa.PrivateKey // by credential ID
	noPRF    bool
	// prfAtCreation gives the secret with the registration, as newer devices do.
	prfAtCreation bool
	taps          int
	events        chan event
}

type event struct {
	name    string
	payload any
}

func newPage(t *testing.T, change ...func(*Config)) *page {
	t.Helper()
	key, err := device.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	p := &page{t: t, computer: device.Peer{ID: device.ID{1}, Name: wire.Clean("laptop")}, keys: map[string]*ecdsa.PrivateKey{}, events: make(chan event, 256)}
	c := Config{
		Store: &testkit.Documents{}, Key: key, HubURL: origin, Origin: origin, Host: host, Secure: true, Name: "phone",
		Emit: func(name string, payload any) {
			if name != "change" {
				p.events <- event{name, payload}
			}
		},
	}
	for _, f := range change {
		f(&c)
	}
	if p.Phone, err = New(c); err != nil {
		t.Fatal(err)
	}
	return p
}

// tap does what core.js does: plan, WebAuthn, call.
func (p *page) tap(name string, args map[string]any) (any, error) {
	p.t.Helper()
	var passphrase [][]byte
	if text, ok := args["passphrase"].(string); ok && name == "makeBackup" {
		delete(args, "passphrase")
		passphrase = [][]byte{[]byte(text)}
	}
	for {
		b, err := json.Marshal(args)
		if err != nil {
			p.t.Fatal(err)
		}
		var planned [][]byte
		for _, s := range passphrase {
			planned = append(planned, bytes.Clone(s))
		}
		plan, err := p.Prepare(name, b, planned...)
		if err != nil {
			return nil, err
		}
		delete(args, "registration")
		delete(args, "assertion")
		var prf []byte
		if plan != (Plan{}) {
			p.taps++
		}
		switch {
		case plan.Create != nil:
			args["registration"] = p.create(plan.Create)
			if p.prfAtCreation && plan.Create.Extensions.PRF != nil {
				prf = prfOfID(args["registration"].(webauthn.Registration).ID, plan.Create.Extensions.PRF.Eval.First)
			}
		case plan.Get != nil:
			args["assertion"], prf = p.get(plan.Get)
		}
		if b, err = json.Marshal(args); err != nil {
			p.t.Fatal(err)
		}
		result, err := p.Call(p.t.Context(), name, b, append([][]byte{prf}, passphrase...)...)
		if !bytes.Equal(prf, make([]byte, len(prf))) {
			p.t.Errorf("%s left the secret as it was", name)
		}
		if _, more := result.(again); !more {
			return result, err
		}
	}
}

func (p *page) must(name string, args map[string]any) any {
	p.t.Helper()
	result, err := p.tap(name, args)
	if err != nil {
		p.t.Fatalf("%s: %v", name, err)
	}
	return result
}

func (p *page) wantFailure(code, name string, args map[string]any) {
	p.t.Helper()
	_, err := p.tap(name, args)
	if got := AsError(err); err == nil || got.Code != code || got.Message == "" {
		p.t.Errorf("%s: %v, want code %s", name, err, code)
	}
}

func clientData(kind string, challenge []byte) webauthn.Base64URL {
	return fmt.Appendf(nil, `{"type":"%s","challenge":"%s","origin":"%s","crossOrigin":false}`,
		kind, base64.RawURLEncoding.EncodeToString(challenge), origin)
}

func authData(flags byte, more ...byte) webauthn.Base64URL {
	rp := sha256.Sum256([]byte(host))
	return slices.Concat(rp[:], []byte{flags, 0, 0, 0, 0}, more)
}

func (p *page) create(o *webauthn.CreationOptions) webauthn.Registration {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.register(o, key)
}

// register answers with a passkey.
func (p *page) register(o *webauthn.CreationOptions, key *ecdsa.PrivateKey) webauthn.Registration {
	p.t.Helper()
	point, err := key.PublicKey.Bytes()
	if err != nil {
		p.t.Fatal(err)
	}
	id := sha256.Sum256(point)
	p.keys[string(id[:])] = key
	cose := slices.Concat([]byte{0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 0x20}, point[1:33], []byte{0x22, 0x58, 0x20}, point[33:])
	attested := slices.Concat(make([]byte, 16), binary.BigEndian.AppendUint16(nil, 32), id[:], cose)
	prf := o.Extensions.PRF != nil && !p.noPRF
	return webauthn.Registration{
		ID: id[:], ClientData: clientData("webauthn.create", o.Challenge), AuthData: authData(0x45, attested...), PRF: &prf,
	}
}

func (p *page) get(o *webauthn.RequestOptions) (webauthn.Assertion, []byte) {
	p.t.Helper()
	id := o.AllowCredentials[0].ID
	key := p.keys[string(id)]
	a := webauthn.Assertion{ID: id, ClientData: clientData("webauthn.get", o.Challenge), AuthData: authData(5)}
	client := sha256.Sum256(a.ClientData)
	digest := sha256.Sum256(slices.Concat(a.AuthData, client[:]))
	var err error
	if a.Signature, err = ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
		p.t.Fatal(err)
	}
	if o.Extensions.PRF == nil || p.noPRF {
		return a, nil
	}
	return a, prfOfID(id, o.Extensions.PRF.Eval.First)
}

func prfOfID(id, salt []byte) []byte {
	mac := hmac.New(sha256.New, id)
	mac.Write(salt)
	return mac.Sum(nil)
}

func (p *page) identity(label string) identity.Identity {
	p.t.Helper()
	id, err := p.signer.Identities.Find(label)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// asks sends a request as the link does; the answer comes over the channel.
func (p *page) asks(ctx context.Context, kind wire.Kind, id string, body any) <-chan any {
	p.t.Helper()
	e, err := wiretest.Envelope(id, kind, body)
	if err != nil {
		p.t.Fatal(err)
	}
	answer := make(chan any, 1)
	go func() {
		_, a := p.serve(ctx, p.computer, e, func() {})
		answer <- a
	}()
	return answer
}

func (p *page) signRequest(id identity.Identity) *wire.RemoteSignRequest {
	data := sshctx.Context{
		Kind: sshctx.HostBound, SessionID: bytes.Repeat([]byte{9}, 32), User: "root", Service: "ssh-connection",
		Algorithm: id.Algorithm, PublicKey: id.PublicKey, HostKey: id.PublicKey,
	}
	return &wire.RemoteSignRequest{
		Asking:       wire.NewAsking(p.computer.ID.String(), "laptop", time.Now(), wire.Window),
		KeyAlgorithm: id.Algorithm, PublicKeyBlob: id.PublicKey, Origin: wire.Origin,
		DataToSign: data.Marshal(), Context: wire.Context{ContextQuality: wire.QualityUnknown},
	}
}

func (p *page) sheet() sheets.Sheet {
	p.t.Helper()
	s, ok := (<-p.events).payload.(sheets.Sheet)
	if !ok {
		p.t.Fatal("another event than a sheet")
	}
	return s
}

func (p *page) end() sheets.End {
	p.t.Helper()
	e, ok := (<-p.events).payload.(sheets.End)
	if !ok {
		p.t.Fatal("another event than a sheet's end")
	}
	return e
}

func TestSignatures(t *testing.T) {
	p := newPage(t)
	p.must("createPasskey", map[string]any{"label": "face"})
	p.must("createVault", map[string]any{"label": "vault", "algorithm": "ssh-ed25519"})
	p.must("createVault", map[string]any{"label": "second", "algorithm": "ecdsa-sha2-nistp256"})
	if len(p.keys) != 2 {
		t.Errorf("%d passkeys were made for one key and one vault", len(p.keys))
	}
	for _, label := range []string{"face", "vault", "second"} {
		id := p.identity(label)
		r := p.signRequest(id)
		answer := p.asks(t.Context(), wire.KindSignRequest, r.RequestID, r)
		sheet := p.sheet()
		if !sheet.Ready || sheet.Label.String() != label || !strings.HasPrefix(sheet.Title.String(), "root@") || sheet.Quality != wire.QualityVerified {
			t.Errorf("sheet %+v", sheet)
		}
		p.must("approve", map[string]any{"id": sheet.ID})
		got := (<-answer).(*wire.SignResponse)
		if got.Error != nil {
			t.Fatal(got.Error)
		}
		var signature ssh.Signature
		key, err := ssh.ParsePublicKey(id.PublicKey)
		if err = errors.Join(err, ssh.Unmarshal(got.Signature, &signature)); err != nil {
			t.Fatal(err)
		}
		if err := sshctx.VerifySignature(key, r.DataToSign, &signature); err != nil {
			t.Error(err)
		}
		if e := p.end(); e.ID != sheet.ID || e.Outcome != sheets.OutcomeApproved {
			t.Errorf("end %+v", e)
		}
		p.wantFailure("ended", "approve", map[string]any{"id": sheet.ID})
	}
}

// A passkey that gives its secret when it is made is asked once more, others twice.
func TestVaultIsMadeInAsFewTapsAsPossible(t *testing.T) {
	for atCreation, taps := range map[bool]int{true: 2, false: 3} {
		p := newPage(t)
		p.prfAtCreation = atCreation
		p.must("createVault", map[string]any{"label": "key", "algorithm": "ssh-ed25519"})
		if p.taps != taps {
			t.Errorf("secret at creation %v: %d calls of WebAuthn, want %d", atCreation, p.taps, taps)
		}
		id := p.identity("key")
		r := p.signRequest(id)
		answer := p.asks(t.Context(), wire.KindSignRequest, r.RequestID, r)
		p.must("approve", map[string]any{"id": p.sheet().ID})
		if got := (<-answer).(*wire.SignResponse); got.Error != nil {
			t.Error(got.Error)
		}
		p.must("deleteIdentity", map[string]any{"fingerprint": id.Fingerprint()})
		if s, err := p.State(); err != nil || s.Vault != nil {
			t.Errorf("the vault outlived its last key: %+v, %v", s.Vault, err)
		}
	}
}

// What a web origin's passkey signs is SSH, and nothing that only looks like it.
func TestOnlyWhatCanBeNamed(t *testing.T) {
	p := newPage(t)
	p.must("createPasskey", map[string]any{"label": "face"})
	id := p.identity("face")
	for name, data := range map[string][]byte{
		"a bank's challenge": bytes.Repeat([]byte{7}, 32),
		"a certificate":      []byte("\x00\x00\x00\x28ecdsa-sha2-nistp256-cert-v01@openssh.com"),
		"a TLS handshake":    append(bytes.Repeat([]byte{' '}, 64), "TLS 1.3, server CertificateVerify"...),
	} {
		r := p.signRequest(id)
		r.DataToSign = data
		got := (<-p.asks(t.Context(), wire.KindSignRequest, r.RequestID, r)).(*wire.SignResponse)
		if wire.CodeOf(got.Error) != wire.CodePolicyDenied {
			t.Errorf("%s: %v", name, got.Error)
		}
	}
	if len(p.events) > 0 {
		t.Errorf("a sheet was shown: %+v", <-p.events)
	}
}

func TestSheetExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPage(t)
		p.must("createPasskey", map[string]any{"label": "face"})
		r := p.signRequest(p.identity("face"))
		r.ExpiresAtMilliseconds = r.IssuedAtMilliseconds + 200
		answer := p.asks(t.Context(), wire.KindSignRequest, r.RequestID, r)
		p.sheet()
		if e := p.end(); e.Outcome != sheets.OutcomeExpired {
			t.Errorf("expired: %+v", e)
		}
		<-answer
	})
}

func TestSheetsEnd(t *testing.T) {
	p := newPage(t)
	p.must("createPasskey", map[string]any{"label": "face"})
	id := p.identity("face")
	ctx, cancel := context.WithCancel(t.Context())
	r := p.signRequest(id)
	answer := p.asks(ctx, wire.KindSignRequest, r.RequestID, r)
	p.sheet()
	cancel()
	if e := p.end(); e.Outcome != sheets.OutcomeWithdrawn {
		t.Errorf("withdrawn: %+v", e)
	}
	<-answer

	r = p.signRequest(id)
	answer = p.asks(t.Context(), wire.KindSignRequest, r.RequestID, r)
	p.must("deny", map[string]any{"id": p.sheet().ID})
	if e := p.end(); e.Outcome != sheets.OutcomeDenied {
		t.Errorf("denied: %+v", e)
	}
	if got := (<-answer).(*wire.SignResponse); wire.CodeOf(got.Error) != wire.CodeUserDenied {
		t.Errorf("denied: %v", got.Error)
	}
	if list := p.sheets.Sheets(); len(list) != 0 || len(p.sheets.Of(p.computer.ID)) != 0 {
		t.Errorf("left open: %+v", list)
	}
}

// An answer that was given to another sheet approves nothing.
func TestAnswersDoNotTravel(t *testing.T) {
	p := newPage(t)
	p.must("createPasskey", map[string]any{"label": "face"})
	p.must("createVault", map[string]any{"label": "vault", "algorithm": "ssh-ed25519"})
	ctx, cancel := context.WithCancel(t.Context())
	var answers []<-chan any
	for _, label := range []string{"face", "vault"} {
		id := p.identity(label)
		one, two := p.signRequest(id), p.signRequest(id)
		two.DataToSign = append(bytes.Clone(two.DataToSign[:4]), two.DataToSign[4:]...)
		two.DataToSign[5] ^= 1
		answers = append(answers, p.asks(ctx, wire.KindSignRequest, one.RequestID, one))
		first := p.sheet()
		answers = append(answers, p.asks(ctx, wire.KindSignRequest, two.RequestID, two))
		second := p.sheet()
		plan, err := p.Prepare("approve", []byte(`{"id":"`+first.ID+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		a, prf := p.get(plan.Get)
		b, _ := json.Marshal(map[string]any{"id": second.ID, "assertion": a})
		if _, err := p.Call(ctx, "approve", b, prf); AsError(err).Code != "badAnswer" {
			t.Errorf("%s: %v", label, err)
		}
		if _, err := p.Call(ctx, "approve", []byte(`{"id":"`+second.ID+`"}`), nil); AsError(err).Code != "malformed" {
			t.Errorf("%s without an answer: %v", label, err)
		}
	}
	cancel()
	for _, a := range answers {
		if got := (<-a).(*wire.SignResponse); got.Error == nil {
			t.Error("signed")
		}
	}
}

func (p *page) certificateRequest() *wire.CertificateRequest {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(&key.PublicKey)
	if err != nil {
		p.t.Fatal(err)
	}
	return &wire.CertificateRequest{
		Asking:        wire.NewAsking(p.computer.ID.String(), "laptop", time.Now(), wire.Window),
		PublicKeyBlob: public.Marshal(), RequestedValiditySeconds: 28800,
	}
}

// A decision changes the bytes, so that the passkey is asked about others.
func TestCertificateDecision(t *testing.T) {
	for _, kind := range []string{"passkey", "vault"} {
		p := newPage(t)
		p.must("createPasskey", map[string]any{"label": "face"})
		p.must("createCA", map[string]any{"kind": kind, "principals": []string{"root", "deploy"}})
		r := p.certificateRequest()
		answer := p.asks(t.Context(), wire.KindCertificateRequest, r.RequestID, r)
		sheet := p.sheet()
		before, err := p.Prepare("approve", []byte(`{"id":"`+sheet.ID+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		p.must("decide", map[string]any{"id": sheet.ID, "validitySeconds": 3600, "principals": []string{"deploy"}})
		if s := p.sheet(); s.ID != sheet.ID || s.ValiditySeconds != 3600 || len(s.Principals) != 1 || len(s.Choices) != 2 {
			t.Errorf("decided: %+v", s)
		}
		p.wantFailure("policyDenied", "decide", map[string]any{"id": sheet.ID, "principals": []string{"admin"}})
		a, prf := p.get(before.Get)
		b, _ := json.Marshal(map[string]any{"id": sheet.ID, "assertion": a})
		if _, err := p.Call(t.Context(), "approve", b, prf); AsError(err).Code != "badAnswer" {
			t.Errorf("%s: approved what was decided before: %v", kind, err)
		}
		p.must("approve", map[string]any{"id": sheet.ID, "decision": map[string]any{"validitySeconds": 600}})
		got := (<-answer).(*wire.CertificateResponse)
		if got.Error != nil {
			t.Fatal(got.Error)
		}
		cert, err := sshctx.ParseCertificate(got.CertificateBlob)
		if err != nil {
			t.Fatal(err)
		}
		if length := time.Until(time.Unix(int64(cert.ValidBefore), 0)); length > 11*time.Minute {
			t.Errorf("%s: valid for %s", kind, length)
		}
		unsigned := *cert
		unsigned.Signature = nil
		data := unsigned.Marshal()
		if err := sshctx.VerifySignature(cert.SignatureKey, data[:len(data)-4], cert.Signature); err != nil {
			t.Error(err)
		}
		s, err := p.State()
		if err != nil || len(s.Certificates) != 1 || s.Certificates[0].Identity.String() != "face" {
			t.Errorf("state %+v, %v", s.Certificates, err)
		}
		again, err := New(p.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if list, err := again.certificates(); err != nil || len(list) != 1 {
			t.Errorf("after a reload: %v, %v", list, err)
		}
	}
}

// failing is a store that is full from some point on.
type failing struct {
	*testkit.Documents
	mu   sync.Mutex
	left int
}

func (f *failing) Put(name string, b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left--; f.left < 0 {
		return fmt.Errorf("%w (QuotaExceededError)", ErrStorage)
	}
	return f.Documents.Put(name, b)
}

// Wherever the disk fills up, what was there is still there, and nothing is
// announced that is not kept.
func TestStorageFillsUp(t *testing.T) {
	for _, name := range []string{"createPasskey", "createVault", "createCA"} {
		for left := range 4 {
			store := &failing{Documents: &testkit.Documents{}, left: 100}
			p := newPage(t, func(c *Config) { c.Store = store })
			p.must("createVault", map[string]any{"label": "old", "algorithm": "ssh-ed25519"})
			before, _ := store.List("")
			store.left = left
			args := map[string]any{"label": "new", "algorithm": "ssh-ed25519", "kind": "vault", "principals": []string{"root"}}
			_, err := p.tap(name, args)
			if err == nil {
				continue
			}
			if AsError(err).Code != "storage" {
				t.Errorf("%s with %d writes left: %v", name, left, err)
			}
			if after, _ := store.List(""); !slices.Equal(before, after) {
				t.Errorf("%s with %d writes left: %v became %v", name, left, before, after)
			}
			if list, err := p.signer.Identities.All(); err != nil || len(list) != 1 {
				t.Errorf("%s with %d writes left: %v, %v", name, left, list, err)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	p := newPage(t)
	p.noPRF = true
	p.wantFailure("prfUnsupported", "createVault", map[string]any{"label": "v", "algorithm": "ssh-ed25519"})
	p.noPRF = false
	p.wantFailure("invalid", "createPasskey", map[string]any{"label": "a\u202eb"})
	p.wantFailure("invalid", "createPasskey", map[string]any{"label": strings.Repeat("x", 300)})
	p.wantFailure("unknownFunction", "erase", nil)
	p.wantFailure("notFound", "deleteIdentity", map[string]any{"fingerprint": "SHA256:none"})
	p.wantFailure("noCA", "deleteCA", nil)
	p.wantFailure("notInvitation", "previewInvitation", map[string]any{"invitation": "https://x/#v=1"})
	p.wantFailure("algorithmUnsupported", "createVault", map[string]any{"label": "v", "algorithm": "ssh-dss"})
	if _, err := p.Prepare("createPasskey", []byte("{")); AsError(err).Code != "malformed" {
		t.Errorf("malformed arguments: %v", err)
	}
	if _, err := p.Call(t.Context(), "state", make([]byte, maxArguments+1), nil); AsError(err).Code != "tooLarge" {
		t.Errorf("too many arguments: %v", err)
	}
	bare := newPage(t, func(c *Config) { c.Host, c.Origin = "192.0.2.7", "https://192.0.2.7" })
	bare.wantFailure("rpUnusable", "createPasskey", map[string]any{"label": "p"})
	insecure := newPage(t, func(c *Config) { c.Secure = false })
	insecure.wantFailure("rpUnusable", "createPasskey", map[string]any{"label": "p"})
}
