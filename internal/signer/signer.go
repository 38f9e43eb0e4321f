// Package signer is the phone: it answers requests, asks its person for approval, and
// holds the rooms of what rests on a phone (identities, the CA, servers, certificates, the
// log). It is pure: storage, keys and people stand behind small interfaces, so that it
// runs natively and in a browser. It knows no files, sockets or terminals.
package signer

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer/activity"
	"vmux/internal/signer/admission"
	"vmux/internal/signer/authority"
	"vmux/internal/signer/certificates"
	"vmux/internal/signer/documents"
	"vmux/internal/signer/hosts"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/transfer"
	"vmux/internal/wire"
)

// Config says what a signer consists of.
type Config struct {
	Store     documents.Store
	Providers map[string]identity.Provider // by Identity.Provider; "file" is added if it is missing
	Approver  Approver
	Now       func() time.Time // default time.Now
	Log       *slog.Logger     // nil discards

	// OtherWay reports whether the person has said that there is another way into the
	// servers than this phone; nil: they have not.
	OtherWay func() bool

	// OnlyNameable refuses to sign what the phone cannot name, instead of
	// showing it as unknown.
	OnlyNameable bool
}

// Signer answers requests. Safe for concurrent use.
type Signer struct {
	cfg          Config
	Activity     *activity.Log
	Hosts        *hosts.List
	Identities   *identity.List
	Certificates *certificates.List
	CA           *authority.Keeper
	Backups      transfer.Backups
	gate         admission.Gate

	mu sync.Mutex // guards changes of documents by this process

	grants sync.Mutex // guards what follows; never held over a use of the store
	held   []held
	// grantTimer is watchGrants' next look; nil while no grant is held.
	grantTimer *time.Timer
	approved   []approved // of late, oldest first
	denials    map[device.ID][]time.Time
}

// New returns a signer.
func New(cfg Config) (*Signer, error) {
	if cfg.Store == nil {
		return nil, errors.New("signer without a store")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	providers := map[string]identity.Provider{identity.ProviderFile: identity.Files{Store: cfg.Store}}
	maps.Copy(providers, cfg.Providers)
	cfg.Providers = providers
	log := activity.New(cfg.Store, cfg.Now)
	s := &Signer{
		cfg: cfg, Activity: log, Hosts: hosts.New(cfg.Store, cfg.Now, cfg.Log), Certificates: certificates.New(cfg.Store, cfg.Now, log),
	}
	s.Identities = identity.New(identity.Config{Store: cfg.Store, Log: log, Now: cfg.Now, Providers: providers, Taken: s.isCA})
	s.CA = authority.New(authority.Config{Store: cfg.Store, Activity: log, Identities: s.Identities, Providers: providers, Now: cfg.Now})
	s.Backups = transfer.New(transfer.Config{Identities: s.Identities, CA: s.CA, Hosts: s.Hosts, Issued: s.Certificates, Providers: providers, Now: cfg.Now})
	return s, nil
}

// Hello returns what the phone adds to its hello.
func (s *Signer) Hello() wire.Hello {
	revoked, err := s.Certificates.RevokedSerials()
	if err != nil {
		s.cfg.Log.Error("certificates", "err", err)
	}
	h := wire.Hello{RevokedSerials: revoked}
	if ca, err := s.CA.Get(); err == nil {
		h.AutomaticIssuance, h.CAPublicKey = ca.Policy.AutomaticIssuance, ca.PublicKey
	}
	return h
}

// Serve answers one request of a paired device and returns the answer's kind
// and body. It calls received when the person is shown the request. It returns
// soon after ctx ends, which is how a request is withdrawn.
func (s *Signer) Serve(ctx context.Context, from device.Peer, e wire.Envelope, received func()) (wire.Kind, any) {
	if e.Version != wire.Version {
		return wire.KindError, wire.Errorf(wire.CodeVersionUnsupported, "this phone speaks version %d of the protocol, not %d", wire.Version, e.Version)
	}
	switch e.Kind {
	case wire.KindKeyListRequest:
		keys, err := s.KeyList()
		if err != nil {
			s.cfg.Log.Error("list keys", "err", err)
			return wire.KindError, wire.AsError(err)
		}
		return wire.KindKeyListResponse, keys
	case wire.KindSignRequest:
		return wire.KindSignResponse, s.sign(ctx, from, e, received)
	case wire.KindCertificateRequest:
		return wire.KindCertificateResponse, s.certify(ctx, from, e, received)
	}
	return wire.KindError, wire.Errorf(wire.CodeVersionUnsupported, "this phone does not answer %s", e.Kind)
}

// KeyList returns what computers list: the identities that are switched on, by
// their labels, and what goes with them.
func (s *Signer) KeyList() (*wire.KeyListResponse, error) {
	list, err := s.Identities.All()
	if err != nil {
		return nil, err
	}
	r := &wire.KeyListResponse{Keys: []wire.RemoteSignerPublicKey{}}
	otherWay := s.cfg.OtherWay != nil && s.cfg.OtherWay()
	for _, id := range list {
		if id.Enabled && len(r.Keys) < wire.MaxKeys {
			r.Keys = append(r.Keys, wire.RemoteSignerPublicKey{
				Algorithm: id.Algorithm, PublicKeyBlob: id.PublicKey, Comment: id.Label,
				ProviderKind: s.kindOf(id), Default: id.Default, Hosts: id.Rules.OnlyHostKeys(), SecondWay: otherWay || s.copied(id),
			})
		}
	}
	return r, nil
}

// copied reports whether the key is known to be elsewhere, too.
func (s *Signer) copied(id identity.Identity) bool {
	p, ok := s.cfg.Providers[id.Provider].(interface{ Copied(identity.Identity) bool })
	return !id.BackedUp.IsZero() || ok && p.Copied(id)
}

func (s *Signer) kindOf(id identity.Identity) wire.ProviderKind {
	if p := s.cfg.Providers[id.Provider]; p != nil {
		return p.Kind()
	}
	return wire.ProviderUnknown
}

// isCA reports whether a public key is the CA's.
func (s *Signer) isCA(publicKey []byte) bool { return authority.Has(s.cfg.Store, publicKey) }

// locked runs a change of documents alone.
func (s *Signer) locked(change func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return change()
}
