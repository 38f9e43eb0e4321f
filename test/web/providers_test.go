package web

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"vmux/internal/sshdtest"
	"vmux/test/browser"
)

// noteUnknown keeps what the app tells the browser of passkeys of no use.
const noteUnknown = `globalThis.unknown = []; PublicKeyCredential.signalUnknownCredential = async (o) => { unknown.push(o); }`

// provider opens the app with a passkey provider of some quirk.
func provider(t *testing.T, b *Browser, url string, soft bool, quirk string, args ...any) *Page {
	t.Helper()
	page := b.Tab()
	if page.BeforeLoad(noteUnknown); soft {
		page.UseSoftAuthenticator(browser.NewSoftAuthenticator())
	} else {
		page.Authenticator(browser.AuthenticatorOptions{})
	}
	page.Quirk(quirk, args...)
	page.Go(url + "/")
	return page
}

// fails calls a function that must fail, with words in what it says.
func (p *Page) fails(code, words, name string, args any) {
	p.T.Helper()
	var f *Failure
	if err := p.Call(name, args, nil); !errors.As(err, &f) || f.Code != code || !strings.Contains(f.Message+" "+f.Hint, words) || f.Hint == "" {
		p.T.Errorf("%s: %v, want code %s, words %q and a hint", name, err, code, words)
	}
}

// unknown are the passkeys that the browser was told to be of no use.
func (p *Page) unknown() []struct{ RPID, CredentialID string } {
	p.T.Helper()
	var list []struct{ RPID, CredentialID string }
	if err := p.Run("return globalThis.unknown", &list); err != nil {
		p.T.Fatalf("%v", err)
	}
	return list
}

// wantNothing: no key is there to be copied, the passkey is told to be of no use, and
// nothing rests of it.
func (p *Page) wantNothing(orphans int) {
	p.T.Helper()
	var s State
	if p.State(&s); len(s.Identities) > 0 || s.CA != nil || s.Vault != nil {
		p.T.Errorf("left behind: %+v, %+v, %+v", s.Identities, s.CA, s.Vault)
	}
	list := p.unknown()
	for _, orphan := range list {
		if orphan.RPID != s.RPID || orphan.CredentialID == "" {
			p.T.Errorf("told of %+v", orphan)
		}
	}
	if len(list) != orphans {
		p.T.Errorf("%d passkeys were told to be of no use, want %d", len(list), orphans)
	}
}

// A provider whose clientDataJSON no OpenSSH takes makes a passkey that is refused
// before its line is shown. A vault, which no server sees, works with it all the same.
func TestClientDataOfAnotherForm(t *testing.T) {
	hub, browser := StartHub(t), NewBrowser(t)
	for _, form := range []string{"another order", "crossOrigin first", "escaped slashes", "spaces", "padded"} {
		page := provider(t, browser, hub.URL, true, "client-data-form", form)
		page.fails("unproven", "its clientDataJSON is not written in the order and form", "createPasskey", map[string]string{"label": "face"})
		page.fails("unproven", "another passkey provider", "createCA", map[string]any{"kind": "passkey", "principals": []string{"root"}})
		page.wantNothing(2)
		page.MustCall("createVault", map[string]string{"label": "v", "algorithm": "ssh-ed25519"}, nil)
		page.MustCall("wipe", nil, nil)
	}
}

// What OpenSSH lets pass is no fault: logins work.
func TestClientDataThatServersTake(t *testing.T) {
	w := &world{hub: StartHub(t), browser: NewBrowser(t)}
	w.open(t, browser.NewSoftAuthenticator())
	for _, form := range []string{"no crossOrigin", "android", "topOrigin"} {
		if err := w.page.Run(browser.QuirkScript(t, "client-data-form", form), nil); err != nil {
			t.Fatal(err)
		}
		w.page.MustCall("createPasskey", map[string]string{"label": form}, nil)
		w.listed(t)
		w.mustLoginWith(t, form)
		w.page.MustCall("deleteIdentity", map[string]string{"fingerprint": w.page.Identity(form).Fingerprint}, nil)
	}
}

func (w *world) mustLoginWith(t *testing.T, label string) {
	t.Helper()
	line := w.page.Identity(label).AuthorizedKey
	for _, o := range sshdtest.Both(t) {
		server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{line}})
		out, err := finish(server.Command(deadline(t), t, sshdtest.New(t), w.agent.Socket, "echo", "in"), w.page.ApproveNext)
		if err != nil || out != "in\n" {
			t.Errorf("to %s by %s: %v\n%s\n%s", o.Version, label, err, out, server.Log())
		}
	}
}

// A vault is made only of a passkey that answers alike whenever it is used.
func TestSecretsThatDiffer(t *testing.T) {
	hub, browser := StartHub(t), NewBrowser(t)
	for how, words := range map[string]string{"each time": "another secret each time", "short": "of another size"} {
		page := provider(t, browser, hub.URL, true, "other-prf", how)
		vault := map[string]string{"label": "v", "algorithm": "ssh-ed25519"}
		page.fails("unproven", words, "createVault", vault)
		page.fails("unproven", words, "createCA", map[string]any{"kind": "vault", "principals": []string{"root"}})
		page.wantNothing(2)
		page.MustCall("createPasskey", map[string]string{"label": "face"}, nil)
		page.MustCall("wipe", nil, nil)
	}
	for _, how := range []string{"when made", "unsaid"} {
		page := provider(t, browser, hub.URL, true, "other-prf", how)
		page.MustCall("createVault", map[string]string{"label": "v", "algorithm": "ssh-ed25519"}, nil)
		page.MustCall("createVault", map[string]string{"label": "w", "algorithm": "ssh-ed25519"}, nil)
		if list := page.unknown(); len(list) > 0 {
			t.Errorf("%s: %+v", how, list)
		}
		page.MustCall("wipe", nil, nil)
	}
}

// Answers in every form that was seen, as long as the standard's bytes are in them,
// make keys of both kinds, and log in.
func TestAnswersOfManyForms(t *testing.T) {
	hub, browser := StartHub(t), NewBrowser(t)
	for _, quirk := range [][]string{
		{"bare-answers", ""}, {"bare-answers", "illegal"}, {"bare-answers", "null"},
		{"answer-bytes", "base64url"}, {"answer-bytes", "base64"}, {"answer-bytes", "array"}, {"answer-bytes", "indexed"},
		{"answer-bytes", "node"}, {"answer-bytes", "view"}, {"answer-bytes", "frame"},
		{"signature-form", "raw"}, {"signature-form", "zeros"}, {"signature-form", "unsigned"},
	} {
		page := provider(t, browser, hub.URL, false, quirk[0], quirk[1])
		for name, args := range map[string]map[string]string{
			"createPasskey": {"label": "face"}, "createVault": {"label": "v", "algorithm": "ssh-ed25519"},
		} {
			if err := page.Call(name, args, nil); err != nil {
				t.Errorf("%v: %s: %v", quirk, name, err)
			}
		}
		page.MustCall("wipe", nil, nil)
	}
}

// What is not there is named.
func TestAnswersThatCannotBeUsed(t *testing.T) {
	hub, browser := StartHub(t), NewBrowser(t)
	passkey := map[string]string{"label": "face"}
	for _, c := range []struct {
		form, field, words string
		orphans            int
	}{
		{"missing", "attestationObject", "attestationObject is missing", 1},
		{"undefined", "clientDataJSON", "clientDataJSON is missing", 1},
		{"text", "clientDataJSON", "clientDataJSON is no bytes", 1},
		{"empty", "attestationObject", "attestationObject is empty", 1},
		{"missing", "signature", "signature is missing", 0},
		{"empty", "authenticatorData", "authenticatorData is empty", 0},
	} {
		page := provider(t, browser, hub.URL, false, "answer-bytes", c.form, c.field)
		page.fails("badAnswer", c.words, "createPasskey", passkey)
		page.wantNothing(c.orphans)
		page.MustCall("discardKey", nil, nil)
		page.wantNothing(1)
	}
}

// Whatever a passkey is refused with, the app says what to do, and a person's
// cancelling is nothing but that.
func TestRefusalsOfPasskeys(t *testing.T) {
	hub, browser := StartHub(t), NewBrowser(t)
	page := provider(t, browser, hub.URL, false, "passkey-refusal")
	for _, c := range []struct{ refusal, code, words string }{
		{`{name: 'AbortError', message: 'The operation was aborted.'}`, "cancelled", "was cancelled"},
		{`{name: 'NotAllowedError', message: 'The operation either timed out or was not allowed.'}`, "cancelled", "took too long"},
		{`{name: 'TimeoutError'}`, "cancelled", "took too long"},
		{`{how: 'plain', name: 'AbortError'}`, "cancelled", "was cancelled"},
		{`{how: 'text', name: 'NotAllowedError'}`, "cancelled", "was cancelled"},
		{`{name: 'OperationError', message: 'A request is already pending.'}`, "busy", "close the app and open it again"},
		{`{name: 'NotAllowedError', message: 'A request is already pending.'}`, "busy", "Finish that first"},
		{`{name: 'NotAllowedError', message: 'The document is not focused.'}`, "cancelled", "not in front"},
		{`{name: 'NotAllowedError', message: 'WebAuthn is not supported on sites with TLS certificate errors.'}`, "rpUnusable", "root certificate"},
		{`{name: 'NotAllowedError', message: "The 'publickey-credentials-create' feature is not enabled in this document."}`, "rpUnusable", "Permissions-Policy"},
		{`{name: 'NotReadableError', message: 'An unknown error occurred while talking to the credential manager.'}`, "providerFailed", "Google Play services"},
		{`{name: 'UnknownError', message: 'The operation failed for an unknown transient reason'}`, "providerFailed", "UnknownError"},
		{`{name: 'InvalidStateError', message: 'The object is in an invalid state.'}`, "providerFailed", "Close its windows"},
		{`{name: 'ConstraintError'}`, "authenticatorUnsuitable", "screen lock"},
		{`{how: 'throws', message: 'Cannot read properties of undefined'}`, "webauthnFailed", "extension"},
		{`{how: 'nothing'}`, "webauthnFailed", "extension"},
		{`{how: 'null'}`, "noAnswer", "no answer"},
		{`{how: 'no response'}`, "badAnswer", "no response"},
	} {
		if err := page.Run("globalThis.passkeyRefusal = "+c.refusal, nil); err != nil {
			t.Fatal(err)
		}
		var f *Failure
		if err := page.Call("createPasskey", map[string]string{"label": "face"}, nil); !errors.As(err, &f) || f.Code != c.code ||
			!strings.Contains(f.Message+" "+f.Hint, c.words) {
			t.Errorf("%s: %v, want code %s and %q", c.refusal, err, c.code, c.words)
		}
	}
	page.wantNothing(0)
}

// A provider that never answers is not waited for any longer than it was told to,
// and not when the request has ended meanwhile.
func TestProviderThatNeverAnswers(t *testing.T) {
	w := newWorld(t)
	w.page.MustCall("createVault", map[string]string{"label": "key", "algorithm": "ssh-ed25519"}, nil)
	w.listed(t)
	w.page.BeforeLoad(`const own = setTimeout; globalThis.setTimeout = (f, delay, ...args) => own(f, delay > 100000 ? 10 : delay, ...args);`)
	w.page.Quirk("passkey-refusal")
	w.page.Reload()
	if err := w.page.Run("globalThis.passkeyRefusal = {how: 'never'}", nil); err != nil {
		t.Fatal(err)
	}
	w.page.fails("cancelled", "took too long", "createPasskey", map[string]string{"label": "face"})
	_, cmd := w.login(t)
	_, _ = finish(cmd, func() {
		sheet := w.page.Sheet()
		if err := w.page.Run(fmt.Sprintf("globalThis.approved = core.approve({id: %q}).catch((e) => e)", sheet.ID), nil); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Process.Kill()
	})
	var f Failure
	if err := w.page.Run("return globalThis.approved", &f); err != nil || f.Code != "ended" {
		t.Errorf("after the request: %+v, %v", f, err)
	}
}

// The passkey of a vault is of no use after the vault's last key.
func TestVaultsPasskeyIsForgotten(t *testing.T) {
	hub, browser := StartHub(t), NewBrowser(t)
	page := provider(t, browser, hub.URL, false, "bare-answers", "")
	for _, label := range []string{"one", "two"} {
		page.MustCall("createVault", map[string]string{"label": label, "algorithm": "ssh-ed25519"}, nil)
	}
	page.MustCall("deleteIdentity", map[string]string{"fingerprint": page.Identity("one").Fingerprint}, nil)
	if list := page.unknown(); len(list) > 0 {
		t.Errorf("told with a key left: %+v", list)
	}
	page.MustCall("deleteIdentity", map[string]string{"fingerprint": page.Identity("two").Fingerprint}, nil)
	page.wantNothing(1)
}
