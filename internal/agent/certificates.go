package agent

import (
	"context"
	"math"
	"slices"
	"time"

	"vmux/internal/agent/certificate"
	"vmux/internal/agent/journal"
	"vmux/internal/agent/keys"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/wire"
)

// RequestCertificate implements control.Service. Who asks for the same as a
// request that waits joins it.
func (a *Agent) RequestCertificate(ctx context.Context, o control.CertificateOptions) (control.Certificate, error) {
	w := certificate.Wanted{Validity: certificate.DefaultValidity, Principals: o.Principals}
	if o.ValiditySeconds < 0 || o.ValiditySeconds > math.MaxInt32 || len(o.Principals) > wire.MaxPrincipals {
		return control.Certificate{}, control.Errorf(control.CodeInvalid, "see `vmux cert request --help`", "No such validity, or too many principals.")
	}
	if o.ValiditySeconds > 0 {
		w.Validity = time.Duration(o.ValiditySeconds) * time.Second
	}
	var err error
	if o.Phone != "" {
		w.Phone, err = a.find(o.Phone)
	} else {
		w.Phone, err = a.certificate.Issuer()
	}
	if err == nil && o.Identity != "" {
		w.Identity, err = a.identityNamed(o.Identity, w.Phone.ID)
	}
	if err == nil {
		err = a.certificate.Request(ctx, w)
	}
	if err != nil {
		return control.Certificate{}, err
	}
	return a.ShowCertificate(), nil
}

// identityNamed finds a phone's key by fingerprint or comment.
func (a *Agent) identityNamed(name string, phone device.ID) ([]byte, error) {
	var found []*keys.Key
	for _, id := range a.snapshot.Load().keys {
		if slices.Contains(id.Phones, phone) && (id.Fingerprint == name || id.Comment == name) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return nil, control.Errorf(wire.CodeKeyNotFound, "see `vmux status`", "That phone has no identity %s.", wire.Show(name))
	case 1:
	default:
		return nil, control.Errorf(wire.CodeKeyNotFound, "name it by its fingerprint: `vmux status`", "That phone has several identities %s.", wire.Show(name))
	}
	return found[0].PublicKeyBlob, nil
}

// askCertificate puts a request for a session certificate to a phone.
func (a *Agent) askCertificate(ctx context.Context, phone device.ID, r wire.CertificateRequest) (wire.CertificateResponse, error) {
	now := time.Now()
	r.Asking = a.asking(now)
	defer a.journal.Wait(control.Request{
		RequestID: r.RequestID, Kind: journal.KindCertificate, Since: now, Until: r.ExpiresAt(),
	})()
	a.log.Info("certificate asked for", "request", r.RequestID, "phone", phone.Short(), "automatic", r.Automatic)
	answer, _, err := ask(ctx, a, question[wire.CertificateResponse]{
		phones: []device.ID{phone}, kind: wire.KindCertificateRequest, asking: r.Asking,
		body: func(asking wire.Asking) any {
			again := r
			again.Asking = asking
			return &again
		},
		shown: func() { a.shown(r.RequestID) },
		accept: func(_ device.ID, e wire.Envelope, asked wire.Asking) (wire.CertificateResponse, error) {
			var answer wire.CertificateResponse
			if err := wire.DecodeBody(e, &answer); err != nil {
				return answer, err
			}
			if answer.RequestID != asked.RequestID {
				return answer, wire.Errorf(wire.CodeMalformedRequest, "The phone answered another request.")
			}
			if answer.Error != nil {
				return answer, a.refusal(answer.Error, asked)
			}
			return answer, nil
		},
	})
	return answer, err
}

// CA implements control.Service.
func (a *Agent) CA() ([]control.CA, error) {
	peers, err := a.trust.Peers()
	if err != nil {
		return nil, err
	}
	list := []control.CA{}
	for _, p := range peers {
		if ca, ok := a.cas.Show(p); ok {
			list = append(list, ca)
		}
	}
	return list, nil
}

// AcceptCA implements control.Service. The next certificate is asked for at once,
// since the user has spoken.
func (a *Agent) AcceptCA(name, fingerprint string) (control.CA, error) {
	p, err := a.find(name)
	if err != nil {
		return control.CA{}, err
	}
	ca, err := a.cas.Accept(p, fingerprint)
	if err == nil {
		a.certificate.RenewIfDue()
	}
	return ca, err
}
