package browserphone

import (
	"context"
	"slices"

	"vmux/internal/signer/certificates"
	"vmux/internal/wire"
)

// maxCertificates bounds those that are listed.
const maxCertificates = 256

// Certificate is a session certificate that this phone has issued. Times are
// Unix milliseconds.
type Certificate struct {
	Serial      string    `json:"serial"`
	Computer    wire.Text `json:"computer"`
	Identity    wire.Text `json:"identity"`
	Principals  []string  `json:"principals"`
	ValidAfter  int64     `json:"validAfter"`
	ValidBefore int64     `json:"validBefore"`
	IssuedAt    int64     `json:"issuedAt"`
	RevokedAt   int64     `json:"revokedAt,omitempty"`
}

// certificates returns those that have not expired, newest first.
func (p *Phone) certificates() ([]Certificate, error) {
	all, err := p.signer.Certificates.All()
	list := []Certificate{}
	for _, i := range slices.Backward(all) {
		if p.cfg.Now().Before(i.ValidUntil) && len(list) < maxCertificates {
			list = append(list, Certificate{
				Serial: i.Serial, Computer: i.DeviceName, Identity: i.Label, Principals: i.Principals,
				ValidAfter: milliseconds(i.ValidAfter), ValidBefore: milliseconds(i.ValidUntil),
				IssuedAt: milliseconds(i.IssuedAt), RevokedAt: milliseconds(i.RevokedAt),
			})
		}
	}
	return list, err
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
