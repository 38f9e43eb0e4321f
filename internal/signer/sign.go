package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/signer/hosts"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// signing is one request for a signature on its way through the phone.
type signing struct {
	s        *Signer
	from     device.Peer
	envelope wire.Envelope
	received func()
	rec      record // what the log will say

	request   wire.RemoteSignRequest
	until     time.Time // the end of its window
	leave     func()    // the queue
	algorithm string
	sheet     SignSheet
	kept      capture
	signature *ssh.Signature
}

func (s *Signer) sign(ctx context.Context, from device.Peer, e wire.Envelope, received func()) *wire.SignResponse {
	q := &signing{s: s, from: from, envelope: e, received: received, rec: newRecord("sign", from, e)}
	err := q.follow(ctx)
	if err = s.conclude(q.rec, err); err != nil {
		return &wire.SignResponse{RequestID: e.ID, Error: wire.AsError(err)}
	}
	return &wire.SignResponse{RequestID: e.ID, Signature: ssh.Marshal(q.signature)}
}

// follow is the rule of a signature: the first step that fails is the answer.
func (q *signing) follow(ctx context.Context) error {
	if err := q.admitted(); err != nil {
		return err
	}
	defer q.leave()
	if err := q.known(); err != nil {
		return err
	}
	if err := q.sheet.Identity.Rules.Allow(q.sheet.Identity.Label, q.sheet.use(), q.s.cfg.Now()); err != nil {
		return err
	}
	if err := q.s.paused(q.from.ID, q.sheet.Claimed.Programs); err != nil { // whatever was granted before
		return err
	}
	return q.grantedOrAsked(ctx)
}

// admitted: the request can be read, is its sender's own, in its window, and new.
func (q *signing) admitted() (err error) {
	if err = wire.DecodeBody(q.envelope, &q.request); err != nil {
		return err
	}
	q.rec.Key = sshctx.Fingerprint(q.request.PublicKeyBlob)
	q.until, q.leave, err = q.s.gate.Admit(q.from, q.envelope, &q.request.Asking, q.s.cfg.Now())
	return err
}

// known: the key is this phone's and enabled, and what it is to sign can be told.
func (q *signing) known() error {
	id, err := q.s.enabled(q.request.PublicKeyBlob)
	if err != nil {
		return err
	}
	q.rec.Label, q.rec.identity = wire.Clean(id.Label), id.Fingerprint()
	if q.algorithm, err = signatureAlgorithm(id, &q.request); err != nil {
		return err
	}
	q.sheet, err = q.s.signSheet(id, q.from, &q.request)
	q.rec.Quality, q.rec.What, q.rec.Lines = q.sheet.Quality, q.sheet.Title(), q.sheet.Lines() // also of what is refused
	if err != nil {
		return err
	}
	return checkAge(q.sheet.Known.Challenge, q.s.cfg.Now())
}

// grantedOrAsked signs, by a grant or by the person's approval, which is remembered.
func (q *signing) grantedOrAsked(ctx context.Context) (err error) {
	unlock, granted := q.s.granted(q.sheet)
	if granted {
		q.rec.Grant = true
		id := q.sheet.Identity
		q.signature, err = q.s.cfg.Providers[id.Provider].Sign(ctx, id, q.sheet.Data, q.algorithm, unlock)
		return err
	}
	if err = q.s.inWindow(ctx, q.until, q.received, q.askAndSign); err != nil {
		clear(q.kept.secret) // also of one that was approved: a computer that withdraws then has gained nothing
		return err
	}
	q.remember()
	return nil
}

// askAndSign asks the person and signs. What a grant needs it leaves in kept.
func (q *signing) askAndSign(ctx context.Context, asked Sheet) error {
	q.sheet.Expires, q.sheet.Shown, q.sheet.Waiting = asked.Expires, asked.Shown, asked.Waiting
	decision, err := q.s.cfg.Approver.sign(ctx, q.sheet)
	q.rec.Joined = decision.Joined
	if wire.CodeOf(err) == wire.CodeUserDenied {
		if !decision.Joined {
			q.rec.pause = q.s.denied(q.from)
		}
		if decision.Mute {
			q.s.mute(q.sheet)
		}
	}
	if err != nil {
		return err
	}
	id, err := q.s.enabled(q.sheet.Identity.PublicKey) // it may have been switched off while it waited
	if err != nil {
		return err
	}
	if err := id.Rules.Allow(id.Label, q.sheet.use(), q.s.cfg.Now()); err != nil {
		return err
	}
	if id.Rules.ByName(q.sheet.use()) && !q.sheet.byName { // limited while it waited: nobody has acknowledged it
		return policy.Forbidden(id.Label, "no login to %s", q.sheet.Destination.Fingerprint())
	}
	asking := q.s.cfg.Approver.unlock(wire.Clean(id.Label), q.sheet.Fingerprint, q.sheet.Sheet, &q.rec)
	unlock := asking.ask
	if decision.Grant > 0 && q.sheet.Grantable() && !q.sheet.MustAcknowledge() {
		q.kept.grant = decision.Grant
		unlock = q.kept.of(unlock)
	}
	q.signature, err = q.s.cfg.Providers[id.Provider].Sign(ctx, id, q.sheet.Data, q.algorithm, unlock)
	asking.done(err)
	return err
}

// remember keeps what follows from an approval.
func (q *signing) remember() {
	s, sheet := q.s, q.sheet
	s.noteApproved(sheet)
	if q.kept.grant > 0 {
		if err := s.grant(sheet, q.kept.grant, q.kept.secret); err != nil {
			s.cfg.Log.Error("keep a grant", "request", sheet.RequestID, "err", err) // asks again
		}
	}
	if err := s.Hosts.Remember(sheet.Destination, sheet.Known, sheet.Claimed.HostName); err != nil {
		s.cfg.Log.Error("remember the host", "request", sheet.RequestID, "err", err) // the next is the first time again
	}
}

// inWindow runs ask, which asks the person and signs, within the request's
// window. When the window ends before ask does, or the computer withdraws, what
// ask made is of no use, and inWindow returns an error.
func (s *Signer) inWindow(ctx context.Context, until time.Time, received func(), ask func(context.Context, Sheet) error) error {
	ctx, cancel := s.windowed(ctx, until)
	defer cancel()
	err := ask(ctx, Sheet{Expires: until, Shown: received, Waiting: s.gate.Others()})
	switch ended := ctx.Err(); {
	case errors.Is(ended, context.DeadlineExceeded):
		return wire.NewError(wire.CodeRequestExpired)
	case ended != nil:
		return fmt.Errorf("%w: %w", errWithdrawn, ended)
	}
	if err == nil && !s.cfg.Now().Before(until) { // the wall clock counts, even if timers slept
		err = wire.NewError(wire.CodeRequestExpired)
	}
	return err
}

// lastMoment is how long before its end a window cannot be withdrawn any more: the
// computer's clock runs out together with this one, and its word that it no
// longer waits may come first. Both sides are to call that expired.
const lastMoment = 500 * time.Millisecond

// windowed ends at until, or when parent does, but for the last moment.
func (s *Signer) windowed(parent context.Context, until time.Time) (context.Context, func()) {
	ctx, withdraw := context.WithCancelCause(context.WithoutCancel(parent))
	ctx, cancel := context.WithTimeout(ctx, until.Sub(s.cfg.Now()))
	stop := context.AfterFunc(parent, func() {
		if s.cfg.Now().Add(lastMoment).Before(until) {
			withdraw(context.Cause(parent))
		}
	})
	return ctx, func() { stop(); cancel(); withdraw(nil) }
}

// enabled returns the identity of a public key that may sign.
func (s *Signer) enabled(blob []byte) (identity.Identity, error) {
	list, err := s.Identities.All()
	if err != nil {
		return identity.Identity{}, err
	}
	if s.isCA(blob) {
		// However it came into the list: what it signs here could be a certificate.
		return identity.Identity{}, wire.Errorf(wire.CodePolicyDenied, "policy: the CA's key signs certificates only")
	}
	return s.pick(list, func(id identity.Identity) bool { return bytes.Equal(id.PublicKey, blob) })
}

// pick returns the first identity that is wanted, if it is enabled and its
// private key within reach.
func (s *Signer) pick(list []identity.Identity, wanted func(identity.Identity) bool) (identity.Identity, error) {
	n := slices.IndexFunc(list, wanted)
	switch {
	case n < 0:
		return identity.Identity{}, wire.NewError(wire.CodeKeyNotFound)
	case !list[n].Enabled:
		return identity.Identity{}, wire.NewError(wire.CodeKeyDisabled)
	case s.cfg.Providers[list[n].Provider] == nil:
		return identity.Identity{}, wire.Errorf(wire.CodeKeyNotFound, "this phone cannot reach keys of provider %s", list[n].Provider)
	}
	return list[n], nil
}

// signatureAlgorithm returns the algorithm that the flags ask for. SHA-1
// signatures of RSA keys (flags 0) are not made.
func signatureAlgorithm(id identity.Identity, r *wire.RemoteSignRequest) (string, error) {
	if r.KeyAlgorithm != id.Algorithm {
		return "", wire.Errorf(wire.CodeAlgorithmUnsupported, "%s is a key of %s, not of %s", id.Label, id.Algorithm, r.KeyAlgorithm)
	}
	if id.Algorithm != ssh.KeyAlgoRSA {
		return id.Algorithm, nil
	}
	if algorithm := sshctx.RSAAlgorithm(r.SignatureFlags); algorithm != "" {
		return algorithm, nil
	}
	return "", wire.Errorf(wire.CodeAlgorithmUnsupported, "ssh-rsa signatures use SHA-1, which this phone does not make: ask for rsa-sha2-256 or rsa-sha2-512")
}

// signSheet reads the signed bytes itself: what they say is verified, whatever
// the computer claims. Bytes that name another key than the one that is asked
// to sign contradict themselves.
func (s *Signer) signSheet(id identity.Identity, from device.Peer, r *wire.RemoteSignRequest) (SignSheet, error) {
	sheet := SignSheet{
		Sheet:       Sheet{RequestID: r.RequestID, From: from, Identity: id, Label: wire.Clean(id.Label)},
		Fingerprint: id.Fingerprint(), Data: r.DataToSign, Quality: wire.QualityUnknown, Claimed: ClaimsOf(r.Context),
	}
	known, err := sshctx.Parse(r.DataToSign)
	switch {
	case err != nil && s.cfg.OnlyNameable:
		return sheet, wire.Errorf(wire.CodePolicyDenied, "policy: only SSH logins, SSHSIG messages and challenges of pam_ssh_agent_auth are signed")
	case err != nil:
		known = sshctx.Context{}
	case known.Kind != sshctx.SSHSIG && !sameKey(known.PublicKey, id.PublicKey):
		return sheet, wire.Errorf(wire.CodePolicyDenied, "policy: what is to be signed names another key than the one asked to sign")
	}
	sheet.Known = known
	if sheet.Destination, err = hosts.Of(known, r.Bindings); err != nil {
		return sheet, err
	}
	s.Hosts.Recall(&sheet.Destination, known, sheet.Claimed.HostName)
	sheet.Again = s.again(sheet)
	sheet.grantable, sheet.byName = s.canGrant(id, sheet.Again), id.Rules.ByName(sheet.use())
	sheet.Quality = qualityOf(known, sheet.Destination, sheet.Claimed)
	return sheet, nil
}

// sameKey reports whether blob is the key, or a certificate over it.
func sameKey(blob, key []byte) bool {
	if bytes.Equal(blob, key) {
		return true
	}
	parsed, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return false
	}
	cert, ok := parsed.(*ssh.Certificate)
	return ok && bytes.Equal(cert.Key.Marshal(), key)
}
