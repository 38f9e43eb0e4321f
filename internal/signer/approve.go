package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer/hosts"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// Approver asks the person. Each function may be called concurrently, returns
// soon after its context ends, and denies when it is nil.
type Approver struct {
	// Sign shows a request for a signature.
	Sign func(context.Context, SignSheet) (SignDecision, error)
	// Certificate shows a request for a session certificate.
	Certificate func(context.Context, CertificateSheet) (CertificateDecision, error)
	// Passphrase asks for the secret of a key, after an approval. The caller
	// wipes what it returns. Where nobody can type another one, it fails from
	// the second attempt on. An error that is no *wire.Error is told to the
	// asker as CodeAuthenticationFailed.
	Passphrase func(context.Context, PassphraseRequest) ([]byte, error)
	// Unlocked tells that a secret which Passphrase has returned was the right one, unless
	// it was remembered. It keeps a copy, if anything. Not called when it is nil.
	Unlocked func(r PassphraseRequest, secret []byte)
	// Failed tells that no secret which Passphrase has returned was the right one: nothing was
	// signed, though it was approved. Not called when it is nil.
	Failed func(PassphraseRequest)

	// Paused tells that a computer is paused after several denials, which the log
	// has by then, so that the person can think about its pairing: see
	// Signer.Report. It must not wait.
	Paused func(Pause)
}

// Sheet is what is shown of any request.
type Sheet struct {
	// RequestID is the computer's own, and one of a kind together with From.ID.
	RequestID string
	From      device.Peer
	Label     wire.Text // the identity's
	// Identity is whose signature is asked for, or for whom a certificate is.
	Identity identity.Identity
	Expires  time.Time
	// Waiting is how many other requests waited when this sheet was made.
	Waiting int
	// Shown tells the computer that the request has reached the person; without
	// it the computer gives up after 25 s. It may be called more than once.
	Shown func()
}

// SignSheet is what is shown of a request for a signature.
type SignSheet struct {
	Sheet
	Fingerprint string
	Data        []byte // what will be signed, all of it
	Quality     wire.ContextQuality
	// Known is what the signed bytes say; zero if unreadable. It is as it stands there,
	// since rules compare it exactly: Title and Lines clean it for the eye.
	Known       sshctx.Context
	Claimed     Claims            // what the computer says
	Destination hosts.Destination // what the phone has found out
	// Again is how many requests like this one were approved within the last minute.
	Again int

	grantable bool // an approval may grant more than itself, and the key's provider can serve them
	byName    bool // the key is limited to servers, and that it is one of them is a claim
}

// use is what the rules of a key see of the request.
func (s SignSheet) use() policy.Signature {
	return policy.Signature{Known: s.Known, Destination: s.Destination, HostName: s.Claimed.HostName}
}

// MustAcknowledge reports whether the sheet carries a warning that the person
// has to acknowledge, in an act of its own, before approving is possible.
func (s SignSheet) MustAcknowledge() bool { return s.Acknowledgement() != "" }

// Acknowledgement is the sentence that the person confirms; "" if there is no
// warning.
func (s SignSheet) Acknowledgement() string {
	var list []string
	for _, w := range s.warnings() {
		list = append(list, w.acknowledgement)
	}
	return strings.Join(list, " ")
}

// warning is what a person has to acknowledge.
type warning struct {
	text            wire.Text
	acknowledgement string
}

func (s SignSheet) warnings() []warning {
	var list []warning
	if like := s.Destination.LooksLike; like != (wire.Text{}) {
		list = append(list, warning{
			wire.Say("%s looks like %s, which has another host key: %s",
				brief(s.Claimed.HostName, maxTitleHost), brief(like, maxTitleHost), briefly(s.Destination.Before)),
			"I know both names, and why their host keys differ.",
		})
	} else if s.Destination.Memory == hosts.Changed {
		list = append(list, warning{
			wire.Say("%s had another host key: %s", brief(s.Claimed.HostName, maxTitleHost), briefly(s.Destination.Before)),
			"I know why the host key is another one.",
		})
	}
	if s.Destination.Downgraded {
		list = append(list, warning{
			wire.Say("earlier logins to this server named it in what is signed; this one does not, and could be to another server"),
			"I know why this login does not name the server.",
		})
	}
	if s.byName {
		list = append(list, warning{
			wire.Say("the key is limited to certain servers; that this is %s only the computer says", brief(s.Claimed.HostName, maxTitleHost)),
			"I have compared the fingerprint with that of the server.",
		})
	}
	return list
}

// CertificateSheet is what is shown of a request for a session certificate.
type CertificateSheet struct {
	Sheet
	Principals []string // exactly as they will stand in the certificate: to be cleaned for the eye
	Validity   time.Duration
	Automatic  bool              // nobody pressed a button on the computer
	CA         identity.Identity // the key that will sign
	// Prepare makes the certificate that a decision stands for, for an approver
	// that has to know the bytes before the person agrees to them. It fails for
	// a decision that would not be followed.
	Prepare func(CertificateDecision) (*Draft, error)
}

// CertificateDecision is the person's. It can narrow what was asked, not widen.
type CertificateDecision struct {
	Approved   bool
	Validity   time.Duration // 0: as asked
	Principals []string      // nil: as asked
	// Draft, if not nil, is what Prepare of the same sheet has made and the
	// person agreed to: it is signed as it is. Validity and Principals then
	// count for nothing.
	Draft *Draft
}

// PassphraseRequest says what a passphrase is for.
type PassphraseRequest struct {
	Label   wire.Text // the key's
	Key     string    // its fingerprint
	Attempt int       // from 1
	// Remembered is called where nobody types the secret, since it is remembered: the
	// record says so.
	Remembered func()
	// RequestID and From are those of the sheet that was approved.
	RequestID string
	From      device.ID
}

// SignDecision is the person's.
type SignDecision struct {
	Approved bool
	// Grant lets the like of this request pass for that long without asking, at
	// most MaxGrant; only where the sheet is Grantable.
	Grant time.Duration
	// Joined marks a decision that was made on another request's sheet, which
	// listed this one: several denials on one sheet are one.
	Joined bool
	// Mute is a denial after which this program is not asked for, for MuteFor.
	Mute bool
}

func (a Approver) sign(ctx context.Context, sheet SignSheet) (SignDecision, error) {
	if a.Sign == nil {
		return SignDecision{}, wire.NewError(wire.CodeUserDenied)
	}
	d, err := a.Sign(ctx, sheet)
	if err == nil && !d.Approved {
		err = wire.NewError(wire.CodeUserDenied)
	}
	return d, err
}

func (a Approver) certificate(ctx context.Context, sheet CertificateSheet) (CertificateDecision, error) {
	if a.Certificate == nil {
		return CertificateDecision{}, wire.NewError(wire.CodeUserDenied)
	}
	d, err := a.Certificate(ctx, sheet)
	if err == nil && !d.Approved {
		err = wire.NewError(wire.CodeUserDenied)
	}
	return d, err
}

// unlocking asks for the secret of one key for the request that a sheet shows.
type unlocking struct {
	approver Approver
	request  PassphraseRequest
	record   *record
	typed    []byte // what may have to be remembered
	given    bool   // the last secret that was asked for
}

func (a Approver) unlock(label wire.Text, key string, sheet Sheet, rec *record) *unlocking {
	return &unlocking{approver: a, record: rec, request: PassphraseRequest{
		Label: label, Key: key, RequestID: sheet.RequestID, From: sheet.From.ID,
		Remembered: func() { rec.Remembered = true },
	}}
}

// ask is the identity.Unlock.
func (u *unlocking) ask(ctx context.Context, attempt int) ([]byte, error) {
	if u.approver.Passphrase == nil {
		return nil, wire.NewError(wire.CodeAuthenticationFailed)
	}
	u.request.Attempt, u.record.Remembered = attempt, false
	secret, err := u.approver.Passphrase(ctx, u.request)
	u.given = err == nil
	clear(u.typed)
	u.typed = nil
	if u.approver.Unlocked != nil && !u.record.Remembered {
		u.typed = bytes.Clone(secret)
	}
	var told *wire.Error
	if err != nil && !errors.As(err, &told) {
		err = fmt.Errorf("%w (%w)", wire.NewError(wire.CodeAuthenticationFailed), err)
	}
	return secret, err
}

// done tells the approver what was typed, if a signature was made by it, and if none was right.
func (u *unlocking) done(err error) {
	switch {
	case err == nil && u.typed != nil:
		u.approver.Unlocked(u.request, u.typed)
	case u.given && u.approver.Failed != nil && wire.CodeOf(err) == wire.CodeAuthenticationFailed:
		u.approver.Failed(u.request)
	}
	clear(u.typed)
}
