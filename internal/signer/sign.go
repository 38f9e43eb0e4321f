package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// Flags of SSH_AGENTC_SIGN_REQUEST (RFC 9987 section 6.5).
const (
	flagRSASHA256 = 2
	flagRSASHA512 = 4
)

func (s *Signer) sign(ctx context.Context, from device.Peer, e wire.Envelope, received func()) *wire.SignResponse {
	var r wire.RemoteSignRequest
	if err := wire.DecodeBody(e, &r); err != nil {
		return &wire.SignResponse{RequestID: e.ID, Error: wire.AsError(err)}
	}
	rec := Record{Kind: "sign", RequestID: r.RequestID, DeviceID: from.ID.String(), DeviceName: from.Name, Key: sshctx.Fingerprint(r.PublicKeyBlob)}
	signature, err := s.signApproved(ctx, from, &r, received, &rec)
	rec.decide(err)
	if logErr := s.record(rec); logErr != nil && err == nil {
		// A signature that the log does not know would be a lie by omission.
		s.cfg.Log.Error("activity log", "request", r.RequestID, "err", logErr)
		err = wire.Errorf(wire.CodeInternalError, "The phone cannot write its activity log.")
	}
	if err != nil {
		s.cfg.Log.Info("signature refused", "request", r.RequestID, "code", wire.CodeOf(err))
		return &wire.SignResponse{RequestID: r.RequestID, Error: wire.AsError(err)}
	}
	return &wire.SignResponse{RequestID: r.RequestID, Signature: ssh.Marshal(signature)}
}

func (s *Signer) signApproved(ctx context.Context, from device.Peer, r *wire.RemoteSignRequest, received func(), rec *Record) (*ssh.Signature, error) {
	until, leave, err := s.admit(from, &r.Asking)
	if err != nil {
		return nil, err
	}
	defer leave()
	id, err := s.enabled(r.PublicKeyBlob)
	if err != nil {
		return nil, err
	}
	rec.Label = id.Label
	algorithm, err := signatureAlgorithm(id, r)
	if err != nil {
		return nil, err
	}
	sheet, err := s.signSheet(id, from, r)
	if err != nil {
		return nil, err
	}
	sheet.Expires, sheet.Shown = until, received
	rec.describe(sheet)

	ctx, cancel := context.WithTimeout(ctx, until.Sub(s.cfg.Now()))
	defer cancel()
	if err := s.cfg.Approver.sign(ctx, sheet); err != nil {
		return nil, outcome(ctx, err)
	}
	signature, err := s.cfg.Providers[id.Provider].Sign(ctx, id, r.DataToSign, algorithm, s.cfg.Approver.unlock(id.Label))
	if err != nil {
		return nil, outcome(ctx, err)
	}
	if ctx.Err() != nil || !s.cfg.Now().Before(until) { // the wall clock counts, even if timers slept
		return nil, wire.NewError(wire.CodeRequestExpired)
	}
	return signature, nil
}

// errWithdrawn tells that the computer no longer waits.
var errWithdrawn = errors.New("withdrawn")

// outcome tells an expired window and a withdrawal from other failures.
func outcome(ctx context.Context, err error) error {
	switch ctx.Err() {
	case nil:
		return err
	case context.DeadlineExceeded:
		return wire.NewError(wire.CodeRequestExpired)
	}
	return fmt.Errorf("%w: %w", errWithdrawn, err)
}

// enabled returns the identity of a public key that may sign.
func (s *Signer) enabled(blob []byte) (Identity, error) {
	list, err := s.Identities()
	if err != nil {
		return Identity{}, err
	}
	for _, id := range list {
		if !bytes.Equal(id.PublicKey, blob) {
			continue
		}
		if !id.Enabled {
			return Identity{}, wire.NewError(wire.CodeKeyDisabled)
		}
		if s.cfg.Providers[id.Provider] == nil {
			return Identity{}, wire.Errorf(wire.CodeKeyNotFound, "this phone cannot reach keys of provider %s", id.Provider)
		}
		return id, nil
	}
	return Identity{}, wire.NewError(wire.CodeKeyNotFound)
}

// signatureAlgorithm returns the algorithm that the flags ask for. SHA-1
// signatures of RSA keys (flags 0) are not made.
func signatureAlgorithm(id Identity, r *wire.RemoteSignRequest) (string, error) {
	if r.KeyAlgorithm != id.Algorithm {
		return "", wire.Errorf(wire.CodeAlgorithmUnsupported, "%s is a key of %s, not of %s", id.Label, id.Algorithm, r.KeyAlgorithm)
	}
	if id.Algorithm != ssh.KeyAlgoRSA {
		return id.Algorithm, nil
	}
	switch {
	case r.SignatureFlags&flagRSASHA512 != 0:
		return ssh.KeyAlgoRSASHA512, nil
	case r.SignatureFlags&flagRSASHA256 != 0:
		return ssh.KeyAlgoRSASHA256, nil
	}
	return "", wire.Errorf(wire.CodeAlgorithmUnsupported, "ssh-rsa signatures use SHA-1, which this phone does not make: ask for rsa-sha2-256 or rsa-sha2-512")
}

// signSheet reads the signed bytes itself: what they say is verified, whatever
// the computer claims. Bytes that name another key than the one that is asked
// to sign contradict themselves.
func (s *Signer) signSheet(id Identity, from device.Peer, r *wire.RemoteSignRequest) (SignSheet, error) {
	sheet := SignSheet{
		Sheet:       Sheet{From: from, Label: id.Label},
		Fingerprint: id.Fingerprint(), Quality: wire.QualityUnknown, Claimed: r.Context,
	}
	if r.Context.HostName != "" || len(r.Context.Programs) > 0 {
		sheet.Quality = wire.QualityClaimed
	}
	known, err := sshctx.Parse(r.DataToSign)
	if err != nil {
		if s.cfg.OnlyNameable {
			return sheet, wire.Errorf(wire.CodePolicyDenied, "policy: only SSH logins and SSHSIG messages are signed")
		}
		return sheet, nil
	}
	if known.Kind != sshctx.SSHSIG && !sameKey(known.PublicKey, id.PublicKey) {
		return sheet, wire.Errorf(wire.CodePolicyDenied, "policy: the login names another key than the one asked to sign")
	}
	sheet.Known = known
	if known.Kind == sshctx.HostBound || known.Kind == sshctx.SSHSIG {
		sheet.Quality = wire.QualityVerified
	}
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
