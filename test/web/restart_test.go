package web

import (
	"testing"

	"vmux/internal/sshdtest"
	"vmux/test/browser"
)

// open opens the app in a new tab, with an authenticator that outlives it, and
// waits for its link.
func (w *world) open(t *testing.T, a browser.SoftAuthenticator) {
	t.Helper()
	w.page = w.browser.Tab()
	w.page.UseSoftAuthenticator(a)
	w.page.Go(w.hub.URL + "/")
	if w.agent == nil {
		w.agent = StartAgent(t, w.hub.URL)
		w.agent.Pair(w.page)
		return
	}
	w.page.WaitComputer()
}

// What a phone has survives its browser: the pairing, the vault and the CA in it,
// which its passkey opens as before. One whose PRF answers differently from then
// on opens nothing, locks nothing in, and is named as the reason.
func TestBrowserRestart(t *testing.T) {
	w := &world{hub: StartHub(t), browser: StartBrowser(t)}
	own := browser.NewSoftAuthenticator()
	w.open(t, own)
	w.page.MustCall("createVault", map[string]string{"label": "key", "algorithm": "ssh-ed25519"}, nil)
	w.page.MustCall("createCA", map[string]any{"kind": "vault", "principals": []string{me(t)}}, nil)
	w.agent.AcceptCA()
	w.listed(t)
	w.mustLogin(t)
	var before, s State
	w.page.State(&before)

	w.browser.Restart()
	w.open(t, own)
	if w.page.State(&s); s.DeviceID != before.DeviceID || len(s.Identities) != 1 || s.Identities[0].PublicKey != before.Identities[0].PublicKey ||
		s.CA == nil || s.CA.Line != before.CA.Line || s.Vault == nil || s.Vault.Keys != 2 {
		t.Errorf("after a restart: %+v, before it: %+v", s, before)
	}
	w.mustLogin(t)
	if out, err := finish(w.agent.Vmux(deadline(t), "cert", "request"), w.page.ApproveNext); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, w.agent.Log())
	}
	for _, o := range sshdtest.Both(t) {
		server := o.StartServer(t, sshdtest.Config{TrustedUserCAKeys: []string{s.CA.Line}})
		out, err := finish(server.Command(deadline(t), t, o, w.agent.Socket, "echo", "in"), func() {})
		if err != nil || out != "in\n" {
			t.Errorf("%s: %v\n%s\n%s", o.Version, err, out, server.Log())
		}
	}

	w.browser.Restart()
	w.open(t, own.WithOtherPRF())
	_, cmd := w.login(t)
	if out, err := finish(cmd, func() {
		w.page.Tap("Approve")
		w.page.Wants("The vault's passkey answered with another secret than the one that locks the vault.")
		w.page.Wants("Unlock it on the device and with the passkey it was made with.")
		w.wantNoApproval(t, w.page.Sheet(), "prfMismatch")
		_ = cmd.Process.Kill()
	}); err == nil {
		t.Errorf("logged in with another PRF: %s", out)
	}
	w.page.WantFailure("prfMismatch", "createVault", map[string]string{"label": "more", "algorithm": "ssh-ed25519"})

	w.browser.Restart()
	w.open(t, own)
	w.mustLogin(t)
	w.page.MustCall("createVault", map[string]string{"label": "more", "algorithm": "ssh-ed25519"}, nil)
}
