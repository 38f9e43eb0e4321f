package browserphone

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"vmux/internal/browserphone/newkey"
	"vmux/internal/browserphone/passphrase"
	"vmux/internal/browserphone/sheets"
	"vmux/internal/device"
	"vmux/internal/keyfile"
	"vmux/internal/link"
	"vmux/internal/link/relay"
	"vmux/internal/signer/authority"
	"vmux/internal/signer/backup"
	"vmux/internal/signer/certificates"
	"vmux/internal/signer/identity"
	"vmux/internal/wire"
)

// Error is what a function fails with: a code for the page, and words for the
// person.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	// Orphan is a passkey that was made for nothing: the page tells the browser.
	Orphan *newkey.Useless `json:"orphan,omitempty"`
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// ErrStorage is wrapped by the errors of a store that cannot keep things.
var ErrStorage = errors.New("the browser does not keep what vmux stores")

// known maps errors to what the page gets. An empty message stands for the
// error's own.
var known = []struct {
	err error
	Error
}{
	{ErrStorage, Error{Code: "storage", Hint: "Free some space on this device, or leave private browsing, then try again. Nothing that was stored is lost."}},
	{identity.ErrVaultSecret, Error{Code: "prfMismatch", Message: "The vault's passkey answered with another secret than the one that locks the vault.", Hint: "Unlock it on the device and with the passkey it was made with."}},
	{identity.ErrNoVault, Error{Code: "noVault", Message: "There is no vault on this phone yet."}},
	{authority.ErrNoCA, Error{Code: "noCA", Message: "This phone has no certificate authority."}},
	{certificates.ErrNoCertificate, Error{Code: "notFound", Message: "That certificate has been revoked already, or this phone has forgotten it."}},
	{identity.ErrNoIdentity, Error{Code: "notFound", Message: "There is no such key on this phone."}},
	{identity.ErrExists, Error{Code: "exists", Message: "There is one like it already."}},
	{identity.ErrEncrypted, Error{Code: "encrypted", Message: "The key file is encrypted.", Hint: "Enter its passphrase."}},
	{identity.ErrWrongPassphrase, Error{Code: "wrongPassphrase", Message: "That is not the key file's passphrase."}},
	{passphrase.ErrWrong, Error{Code: "vaultPassphrase", Message: "That is not the passphrase of this phone’s vault.", Hint: "Nothing was opened. Each try takes this device a moment, and whoever guesses as well."}},
	{passphrase.ErrWeak, Error{Code: "weakPassphrase", Message: fmt.Sprintf("The passphrase is too short: it needs %d characters or more.", passphrase.MinSize), Hint: "Several words, or let the app suggest one."}},
	{backup.ErrWrongPassphrase, Error{Code: "wrongPassphrase", Message: "That is not the backup’s passphrase, or the file is damaged.", Hint: "Enter it as it was written down."}},
	{backup.ErrDamaged, Error{Code: "damaged", Message: "The backup is damaged or cut off. Nothing was restored.", Hint: "Copy it anew from where it was kept, or take another copy."}},
	{backup.ErrNewer, Error{Code: "newer", Message: "A newer version of vmux made this backup. Nothing was restored.", Hint: "Bring this app to that version: Settings, Version."}},
	{backup.ErrNotBackup, Error{Code: "notBackup", Message: "This is no backup of vmux.", Hint: "Choose a file that this app or `vmux phone backup` has made."}},
	{backup.ErrTooCostly, Error{Code: "tooCostly", Message: "The backup takes more memory to open than a phone has.", Hint: "Encrypt it anew on a computer: age -d FILE | age -p -o NEW"}},
	{sheets.ErrEnded, Error{Code: "ended", Message: "This request has ended."}},
	{sheets.ErrNotTogether, Error{Code: "malformed", Message: "These requests cannot be answered together."}},
	{device.ErrNotInvitation, Error{Code: "notInvitation", Message: "That is not a vmux invitation.", Hint: "Run `vmux pair` on the computer and scan the code, or paste the whole link."}},
	{device.ErrInvitationEnded, Error{Code: "invitationEnded", Message: "The invitation was used already or has expired.", Hint: "Run `vmux pair` on the computer again."}},
	{device.ErrWrongProof, Error{Code: "wrongProof", Message: "The computer did not prove that it made this invitation.", Hint: "Run `vmux pair` on the computer again."}},
	{device.ErrNotPaired, Error{Code: "notFound", Message: "That computer is not paired with this phone."}},
	{device.ErrTooMany, Error{Code: "tooMany"}},
	{relay.ErrNotConnected, Error{Code: "hubUnreachable", Message: "The hub does not answer.", Hint: "Check this phone's connection, then try again."}},
	{link.ErrNoRoute, Error{Code: "unreachable", Message: "The computer could not be reached.", Hint: "See that `vmux agent` runs there."}},
	{context.DeadlineExceeded, Error{Code: "timeout", Message: "That took too long.", Hint: "Try again."}},
}

// AsError returns err as the page gets it.
func AsError(err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	for _, k := range known {
		if errors.Is(err, k.err) {
			e := k.Error
			if e.Message == "" {
				e.Message = wire.Show(err.Error())
			}
			if k.err == ErrStorage { // which document it was means nothing to a person
				_, cause, _ := strings.Cut(e.Message, ErrStorage.Error())
				e.Message = "The browser does not keep what vmux stores" + cause + "."
			}
			return &e
		}
	}
	var file *keyfile.Error
	if errors.As(err, &file) {
		return &Error{Code: "notImported", Message: asSentence(file.Error()), Hint: asSentence(file.Hint("FILE"))}
	}
	var told *wire.Error
	if errors.As(err, &told) {
		return &Error{Code: string(told.Code), Message: told.Error()}
	}
	return &Error{Code: "failed", Message: wire.Show(err.Error())}
}

// asSentence begins with a capital letter and ends with a full stop.
func asSentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
