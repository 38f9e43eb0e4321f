package browserphone

import (
	"context"

	"vmux/internal/browserphone/pagestate"
	"vmux/internal/signer/certificates"
)

// certificates returns those that have not expired, newest first.
func (p *Phone) certificates() ([]pagestate.Certificate, error) {
	all, err := p.signer.Certificates.All()
	return pagestate.Certificates(all, p.cfg.Now()), err
}

// revoke revokes one certificate. Computers that are connected drop it at once.
func (p *Phone) revoke(_ context.Context, a arguments) (any, error) {
	_, err := p.signer.Certificates.Revoke(func(i certificates.Issued) bool { return i.Serial == a.Serial })
	if err != nil {
		return nil, err
	}
	p.keysChanged()
	return nil, nil
}

// revocationList returns the KRL for servers.
func (p *Phone) revocationList(context.Context, arguments) (any, error) {
	return p.signer.Certificates.KRL()
}
