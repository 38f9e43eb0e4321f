package browserphone

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer"
	"vmux/internal/signer/activity"
	"vmux/internal/signer/hosts"
	"vmux/internal/signer/identity"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

// Outcomes of a sheet.
const (
	OutcomeApproved  = "approved"
	OutcomeDenied    = "denied"
	OutcomeExpired   = "expired"
	OutcomeWithdrawn = "withdrawn" // by the computer, or another phone answered
	OutcomeFailed    = "failed"
)

// Sheet is a request as the page shows it.
type Sheet struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind"` // "sign" or "certificate"
	Computer    wire.Text `json:"computer"`
	ComputerID  string    `json:"computerID"`
	Label       wire.Text `json:"label"`       // of the identity that signs or that a certificate is for
	Fingerprint string    `json:"fingerprint"` // the same
	KeyKind     string    `json:"keyKind"`     // of the key that signs: "passkey" or "vault"
	Expires     int64     `json:"expires"`     // Unix milliseconds
	Waiting     int       `json:"waiting"`     // other requests
	Ready       bool      `json:"ready"`       // can be approved

	// Of a signature.
	Quality wire.ContextQuality `json:"quality,omitempty"`
	Title   wire.Text           `json:"title,omitzero"`
	Lines   []activity.Line     `json:"lines,omitempty"`
	// Listed are the lines that it needs where it is one of several on a sheet.
	Listed []activity.Line `json:"listed,omitempty"`
	// MustAcknowledge: the lines have a warning, and approving wants
	// acknowledged: true.
	MustAcknowledge bool `json:"mustAcknowledge,omitempty"`
	// Acknowledgement is the sentence to be confirmed.
	Acknowledgement string `json:"acknowledgement,omitempty"`
	// HostChanged: the warning is that the server had another host key.
	HostChanged bool `json:"hostChanged,omitempty"`
	// Downgraded: the warning is that the login does not name the server.
	Downgraded bool `json:"downgraded,omitempty"`
	// Grantable: the approval may let the like of it pass for a while.
	Grantable bool `json:"grantable,omitempty"`
	// Again, if not 0, is how many requests like this one were approved within a
	// minute: the sheet itself then offers to let the like of it pass.
	Again int `json:"again,omitempty"`

	// Of a certificate.
	Automatic          bool     `json:"automatic,omitempty"`
	ValiditySeconds    int64    `json:"validitySeconds,omitempty"`
	MaxValiditySeconds int64    `json:"maxValiditySeconds,omitempty"`
	Principals         []string `json:"principals,omitempty"`
	Choices            []string `json:"choices,omitempty"`
}

// End is how a sheet ended.
type End struct {
	ID      string    `json:"id"`
	Outcome string    `json:"outcome"`
	Code    wire.Code `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
}

// endOf says how the request ended that was answered with told.
func endOf(ctx context.Context, told *wire.Error) End {
	switch {
	case told == nil:
		return End{Outcome: OutcomeApproved}
	case told.Code == wire.CodeUserDenied:
		return End{Outcome: OutcomeDenied}
	case told.Code == wire.CodeRequestExpired:
		return End{Outcome: OutcomeExpired, Message: told.Error()}
	case ctx.Err() != nil:
		return End{Outcome: OutcomeWithdrawn}
	}
	return End{Outcome: OutcomeFailed, Code: told.Code, Message: told.Error()}
}

// requestKey names a request: its ID is the computer's choice.
type requestKey struct {
	from device.ID
	id   string
}

// openSheet is a sheet that waits for the person, or for the signature.
type openSheet struct {
	key     requestKey
	signing identity.Identity // the key that signs
	data    []byte            // of a signature
	shown   func()
	prepare func(signer.CertificateDecision) (*signer.Draft, error)
	answer  chan answer   // of capacity 1
	closed  chan struct{} // when end is set

	// Guarded by sheets.mu.
	sheet     Sheet
	draft     *signer.Draft
	challenge []byte // of the WebAuthn call that approves
	answered  bool
	secret    []byte // for the provider
	end       End
}

type answer struct {
	approved bool
	draft    *signer.Draft
	grant    time.Duration
	mute     bool
	joined   bool // it was another request's sheet that was answered
}

// sheets are those that are open.
type sheets struct {
	mu    sync.Mutex
	byID  map[string]*openSheet
	byKey map[requestKey]*openSheet
	order []*openSheet
}

func (s *sheets) open(o *openSheet) {
	o.answer, o.closed = make(chan answer, 1), make(chan struct{})
	o.sheet.ID = wire.NewID()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID, s.byKey = map[string]*openSheet{}, map[requestKey]*openSheet{}
	}
	s.byID[o.sheet.ID], s.byKey[o.key] = o, o
	s.order = append(s.order, o)
}

func (s *sheets) get(id string) (*openSheet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byID[id]
	if o == nil || o.answered {
		return nil, &Error{Code: "ended", Message: "This request has ended."}
	}
	return o, nil
}

func (s *sheets) list() []Sheet {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []Sheet{}
	for _, o := range s.order {
		if !o.answered {
			list = append(list, o.sheet)
		}
	}
	return list
}

// of returns the sheets of one computer.
func (s *sheets) of(id device.ID) (list []*openSheet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.order {
		if o.key.from == id {
			list = append(list, o)
		}
	}
	return list
}

// take notes the person's answer; only the first one counts.
func (s *sheets) take(o *openSheet, a answer, secret []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.answered || s.byID[o.sheet.ID] != o {
		return &Error{Code: "ended", Message: "This request has ended."}
	}
	o.answered, o.secret = true, secret
	o.answer <- a
	return nil
}

// closeSheet ends a request's sheet, if one was shown.
func (p *Phone) closeSheet(key requestKey, end End) {
	s := &p.sheets
	s.mu.Lock()
	o := s.byKey[key]
	if o == nil {
		s.mu.Unlock()
		return
	}
	end.ID = o.sheet.ID
	o.end, o.answered = end, true
	clear(o.secret)
	o.secret = nil
	delete(s.byKey, key)
	delete(s.byID, end.ID)
	s.order = slices.DeleteFunc(s.order, func(other *openSheet) bool { return other == o })
	s.mu.Unlock()
	close(o.closed)
	p.cfg.Emit("sheetEnd", end)
}

// askSign implements signer.Approver.Sign.
func (p *Phone) askSign(ctx context.Context, s signer.SignSheet) (signer.SignDecision, error) {
	o := p.newSheet("sign", s.Sheet, s.Identity)
	o.data = bytes.Clone(s.Data)
	o.sheet.Quality, o.sheet.Title, o.sheet.Lines = s.Quality, s.Title(), s.Lines()
	o.sheet.Listed = s.Listed()
	o.sheet.MustAcknowledge, o.sheet.Acknowledgement = s.MustAcknowledge(), s.Acknowledgement()
	o.sheet.HostChanged = s.Destination.Memory == hosts.Changed && s.Destination.LooksLike == (wire.Text{})
	o.sheet.Downgraded = s.Destination.Downgraded
	o.sheet.Grantable = s.Grantable() && !s.MustAcknowledge()
	if s.OffersGrant() {
		o.sheet.Again = s.Again
	}
	o.challenge = p.challengeFor(o)
	a, err := p.ask(ctx, o)
	return signer.SignDecision{Approved: a.approved, Grant: a.grant, Mute: a.mute, Joined: a.joined}, err
}

// askCertificate implements signer.Approver.Certificate.
func (p *Phone) askCertificate(ctx context.Context, s signer.CertificateSheet) (signer.CertificateDecision, error) {
	o := p.newSheet("certificate", s.Sheet, s.CA)
	o.prepare = s.Prepare
	o.sheet.Automatic, o.sheet.MaxValiditySeconds = s.Automatic, int64(s.Validity.Seconds())
	o.sheet.Choices = s.Principals
	if err := p.draft(o, signer.CertificateDecision{}); err != nil {
		return signer.CertificateDecision{}, err
	}
	a, err := p.ask(ctx, o)
	return signer.CertificateDecision{Approved: a.approved, Draft: a.draft}, err
}

func (p *Phone) newSheet(kind string, s signer.Sheet, signing identity.Identity) *openSheet {
	return &openSheet{key: requestKey{s.From.ID, s.RequestID}, signing: signing, shown: s.Shown, sheet: Sheet{
		Kind: kind, Computer: p.nameOf(s.From), ComputerID: s.From.ID.String(),
		Label: s.Label, Fingerprint: s.Identity.Fingerprint(), KeyKind: signing.Provider,
		Expires: s.Expires.UnixMilli(), Waiting: s.Waiting, Ready: true,
	}}
}

// draft prepares the certificate of a decision, so that its bytes are known
// when the person taps.
func (p *Phone) draft(o *openSheet, d signer.CertificateDecision) error {
	draft, err := o.prepare(d)
	if err != nil {
		return err
	}
	p.sheets.mu.Lock()
	defer p.sheets.mu.Unlock()
	o.draft = draft
	o.challenge = p.challengeFor(o)
	o.sheet.ValiditySeconds, o.sheet.Principals = int64(draft.Validity()/time.Second), draft.Principals()
	return nil
}

// challengeFor returns the WebAuthn challenge that approves: a passkey's answer
// is the signature itself, and a vault's opens the vault.
func (p *Phone) challengeFor(o *openSheet) []byte {
	switch {
	case o.signing.Provider == identity.ProviderPasskey && o.draft != nil:
		return o.draft.Data()
	case o.signing.Provider == identity.ProviderPasskey:
		return o.data
	}
	return webauthn.NewChallenge()
}

// ask shows a sheet until the person has answered or ctx ends.
func (p *Phone) ask(ctx context.Context, o *openSheet) (answer, error) {
	p.sheets.open(o)
	p.cfg.Emit("sheet", p.sheets.snapshot(o))
	p.changed()
	select {
	case a := <-o.answer:
		return a, nil
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

func (s *sheets) snapshot(o *openSheet) Sheet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return o.sheet
}

// secret implements signer.Approver.Passphrase: the tap that approved has
// brought it.
func (p *Phone) secret(_ context.Context, r signer.PassphraseRequest) ([]byte, error) {
	p.sheets.mu.Lock()
	defer p.sheets.mu.Unlock()
	o := p.sheets.byKey[requestKey{r.From, r.RequestID}]
	if o == nil || o.secret == nil || r.Attempt > 1 {
		return nil, errors.New("no answer of the passkey")
	}
	secret := o.secret
	o.secret = nil
	return secret, nil
}

// decide applies a choice on a certificate's sheet.
func (p *Phone) decide(id string, d signer.CertificateDecision) (any, error) {
	o, err := p.sheets.get(id)
	if err != nil {
		return nil, err
	}
	if o.prepare == nil {
		return nil, &Error{Code: "malformed", Message: "There is nothing to decide on this sheet."}
	}
	if err := p.draft(o, d); err != nil {
		return nil, err
	}
	p.cfg.Emit("sheet", p.sheets.snapshot(o))
	return nil, nil
}

// show tells the computer that the person sees its request.
func (p *Phone) show(id string) (any, error) {
	o, err := p.sheets.get(id)
	if err == nil && o.shown != nil {
		o.shown()
	}
	return nil, err
}
