package terminal

import (
	"context"

	"vmux/internal/signer"
	"vmux/internal/wire"
)

// Always approves everything and answers with the one passphrase: for tests and
// demonstrations only. It says what it approves through say.
func Always(passphrase []byte, say func(string)) signer.Approver {
	return signer.Approver{
		Sign: func(_ context.Context, s signer.SignSheet) (signer.SignDecision, error) {
			s.Shown()
			say("approved by itself: " + s.Title().String() + ", key " + s.Label.String() + ", for " + s.From.Name.String())
			return signer.SignDecision{Approved: true}, nil
		},
		Certificate: func(_ context.Context, s signer.CertificateSheet) (signer.CertificateDecision, error) {
			s.Shown()
			say("approved by itself: session certificate for " + s.From.Name.String() + ", " + validity(s.Validity))
			return signer.CertificateDecision{Approved: true}, nil
		},
		Passphrase: WithPassphrase(passphrase, say),
	}
}

// WithPassphrase answers with one passphrase, once for each signature: a wrong
// one does not become right by being tried again. It says of which key it is not.
func WithPassphrase(passphrase []byte, say func(string)) func(context.Context, signer.PassphraseRequest) ([]byte, error) {
	return func(_ context.Context, r signer.PassphraseRequest) ([]byte, error) {
		if r.Attempt > 1 {
			say("the passphrase of --passphrase-file is not that of " + r.Label.String() + ": nothing was signed")
			return nil, wire.NewError(wire.CodeAuthenticationFailed)
		}
		return append([]byte{}, passphrase...), nil // the caller wipes it
	}
}
