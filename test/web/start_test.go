package web

import (
	"testing"

	"vmux/test/browser"
)

// The whole of it once: an app that starts, makes keys, is paired and reloaded.
func TestAppStarts(t *testing.T) {
	hub := StartHub(t)
	page := NewBrowser(t).Open(hub.URL + "/")
	page.Authenticator(browser.AuthenticatorOptions{})
	s := page.WaitHub()
	t.Logf("%+v", s)
	page.MustCall("createPasskey", map[string]string{"label": "face"}, nil)
	page.MustCall("createVault", map[string]string{"label": "vault", "algorithm": "ssh-ed25519"}, nil)
	page.State(&s)
	if len(s.Identities) != 2 {
		t.Fatalf("%+v", s.Identities)
	}
	page.Reload()
	var after State
	page.State(&after)
	if len(after.Identities) != 2 || after.DeviceID != s.DeviceID {
		t.Errorf("after a reload: %+v", after)
	}
	t.Log(page.Console())
}
