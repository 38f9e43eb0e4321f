package browserphone

import (
	"bytes"
	"context"
	"errors"

	"vmux/internal/browserphone/sheets"
	"vmux/internal/signer"
	"vmux/internal/signer/hosts"
	"vmux/internal/signer/identity"
	"vmux/internal/wire"
)

// askSign implements signer.Approver.Sign.
func (p *Phone) askSign(ctx context.Context, s signer.SignSheet) (signer.SignDecision, error) {
	sheet := p.sheetOf("sign", s.Sheet, s.Identity)
	sheet.Quality, sheet.Title, sheet.Lines = s.Quality, s.Title(), s.Lines()
	sheet.Listed = s.Listed()
	sheet.MustAcknowledge, sheet.Acknowledgement = s.MustAcknowledge(), s.Acknowledgement()
	sheet.HostChanged = s.Destination.Memory == hosts.Changed && s.Destination.LooksLike == (wire.Text{})
	sheet.Downgraded = s.Destination.Downgraded
	sheet.Grantable = s.Grantable() && !s.MustAcknowledge()
	if s.OffersGrant() {
		sheet.Again = s.Again
	}
	a, err := p.ask(ctx, sheets.New(sheets.Request{
		Key: sheets.Key{From: s.From.ID, ID: s.RequestID}, Signing: s.Identity, Data: bytes.Clone(s.Data), Shown: s.Shown,
	}, sheet))
	return signer.SignDecision{Approved: a.Approved, Grant: a.Grant, Mute: a.Mute, Joined: a.Joined}, err
}

// askCertificate implements signer.Approver.Certificate.
func (p *Phone) askCertificate(ctx context.Context, s signer.CertificateSheet) (signer.CertificateDecision, error) {
	sheet := p.sheetOf("certificate", s.Sheet, s.CA)
	sheet.Automatic, sheet.MaxValiditySeconds = s.Automatic, int64(s.Validity.Seconds())
	sheet.Choices = s.Principals
	o := sheets.New(sheets.Request{
		Key: sheets.Key{From: s.From.ID, ID: s.RequestID}, Signing: s.CA, Shown: s.Shown, Prepare: s.Prepare,
	}, sheet)
	if err := p.draft(o, signer.CertificateDecision{}); err != nil {
		return signer.CertificateDecision{}, err
	}
	a, err := p.ask(ctx, o)
	return signer.CertificateDecision{Approved: a.Approved, Draft: a.Draft}, err
}

func (p *Phone) sheetOf(kind string, s signer.Sheet, signing identity.Identity) sheets.Sheet {
	return sheets.Sheet{
		Kind: kind, Computer: p.nameOf(s.From), ComputerID: s.From.ID.String(),
		Label: s.Label, Fingerprint: s.Identity.Fingerprint(), KeyKind: signing.Provider,
		Expires: s.Expires.UnixMilli(), Waiting: s.Waiting, Ready: true,
	}
}

// draft prepares the certificate of a decision.
func (p *Phone) draft(o *sheets.Request, d signer.CertificateDecision) error {
	draft, err := o.Prepare(d)
	if err == nil {
		p.sheets.SetDraft(o, draft)
	}
	return err
}

// ask shows a sheet until the person has answered or ctx ends.
func (p *Phone) ask(ctx context.Context, o *sheets.Request) (sheets.Answer, error) {
	p.cfg.Emit("sheet", p.sheets.Show(o))
	p.changed()
	return o.Answer(ctx)
}

// secret implements signer.Approver.Passphrase: the tap that approved has
// brought it.
func (p *Phone) secret(_ context.Context, r signer.PassphraseRequest) ([]byte, error) {
	if r.Attempt == 1 {
		if secret := p.sheets.Secret(sheets.Key{From: r.From, ID: r.RequestID}); secret != nil {
			return secret, nil
		}
	}
	return nil, errors.New("no answer of the passkey")
}

// decide applies a choice on a certificate's sheet.
func (p *Phone) decide(_ context.Context, a arguments) (any, error) {
	o, err := p.sheets.Get(a.ID)
	if err != nil {
		return nil, err
	}
	if o.Prepare == nil {
		return nil, &Error{Code: "malformed", Message: "There is nothing to decide on this sheet."}
	}
	if err := p.draft(o, decision{ValiditySeconds: a.ValiditySeconds, Principals: a.Principals}.signers()); err != nil {
		return nil, err
	}
	sheet, _, _ := p.sheets.Now(o)
	p.cfg.Emit("sheet", sheet)
	return nil, nil
}

// shown tells the computer that the person sees its request.
func (p *Phone) shown(_ context.Context, a arguments) (any, error) {
	o, err := p.sheets.Get(a.ID)
	if err == nil {
		o.Shown()
	}
	return nil, err
}
