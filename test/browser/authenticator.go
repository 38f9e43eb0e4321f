package browser

import (
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"fmt"

	"github.com/chromedp/cdproto/webauthn"
)

// Authenticator is a virtual one, which a person uses without delay.
type Authenticator struct {
	tab *Tab
	id  webauthn.AuthenticatorID
}

// AuthenticatorOptions say what it lacks. The zero value is a phone's own: it
// verifies its user, keeps passkeys, and has PRF.
type AuthenticatorOptions struct {
	NoPRF, NotVerified, NoResidentKey bool
	// Synced marks its passkeys as backed up.
	Synced bool
}

// Authenticator adds an authenticator to the page. It goes with the tab.
func (t *Tab) Authenticator(o AuthenticatorOptions) *Authenticator {
	t.T.Helper()
	Send(t, webauthn.Enable, webauthn.EnableParams{})
	a := &Authenticator{tab: t}
	options := &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Ctap2version: webauthn.Ctap2versionCtap21,
		Transport: webauthn.AuthenticatorTransportInternal, HasResidentKey: !o.NoResidentKey, HasUserVerification: true,
		HasPrf: !o.NoPRF, IsUserVerified: !o.NotVerified, AutomaticPresenceSimulation: true,
		DefaultBackupEligibility: o.Synced, DefaultBackupState: o.Synced,
	}
	a.id = Send(t, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: options}).AuthenticatorID
	return a
}

// SetVerified makes the next user one that the device knows, or does not.
func (a *Authenticator) SetVerified(yes bool) {
	a.tab.T.Helper()
	Send(a.tab, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: a.id, IsUserVerified: yes})
}

// Remove takes the authenticator away.
func (a *Authenticator) Remove() {
	a.tab.T.Helper()
	Send(a.tab, webauthn.RemoveVirtualAuthenticator, webauthn.RemoveVirtualAuthenticatorParams{AuthenticatorID: a.id})
}

// Credentials returns its passkeys.
func (a *Authenticator) Credentials() []*webauthn.Credential {
	a.tab.T.Helper()
	return Send(a.tab, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: a.id}).Credentials
}

// DeleteCredentials deletes all passkeys, as a person can in the settings.
func (a *Authenticator) DeleteCredentials() {
	a.tab.T.Helper()
	Send(a.tab, webauthn.ClearCredentials, webauthn.ClearCredentialsParams{AuthenticatorID: a.id})
}

// LieAboutUser makes its answers say that nobody was verified.
func (a *Authenticator) LieAboutUser(lie bool) {
	a.tab.T.Helper()
	Send(a.tab, webauthn.SetResponseOverrideBits, webauthn.SetResponseOverrideBitsParams{AuthenticatorID: a.id, IsBadUV: &lie})
}

//go:embed softauthenticator.js
var softAuthenticator string

// SoftAuthenticator is one that outlives the browser, as a phone's and a security
// key do. It verifies its user without delay.
type SoftAuthenticator struct{ keys, prf string }

// NewSoftAuthenticator makes one with secrets of its own.
func NewSoftAuthenticator() SoftAuthenticator {
	return SoftAuthenticator{keys: secret(), prf: secret()}
}

// WithOtherPRF has the same keys, but answers differently to PRF.
func (a SoftAuthenticator) WithOtherPRF() SoftAuthenticator {
	return SoftAuthenticator{keys: a.keys, prf: secret()}
}

func secret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// UseSoftAuthenticator gives it to the pages that are loaded from now on, in
// place of the browser's.
func (t *Tab) UseSoftAuthenticator(a SoftAuthenticator) {
	t.T.Helper()
	t.BeforeLoad(fmt.Sprintf("(%s)(%q, %q)", softAuthenticator, a.keys, a.prf))
}
