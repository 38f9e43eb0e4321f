package browserphone

import (
	"context"
	"errors"

	"vmux/internal/browserphone/pagestate"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/wire"
)

// setRules replaces an identity's rules as a whole.
func (p *Phone) setRules(_ context.Context, a arguments) (any, error) {
	if a.Rules == nil {
		return nil, &Error{Code: "malformed", Message: "No rules were given."}
	}
	if err := a.Rules.Check(); err != nil {
		return nil, &Error{Code: "invalid", Message: wire.Show(err.Error())}
	}
	return p.changing(a, func(id identity.Identity) error {
		_, err := p.signer.Identities.SetRules(id, func(r *policy.Rules) { *r = *a.Rules })
		return err
	})
}

// refused is what an identity's rules have refused, as far as the log goes back.
type refused struct {
	Count int   `json:"count"`
	Last  int64 `json:"last,omitempty"` // Unix milliseconds
}

func (p *Phone) refusals(_ context.Context, a arguments) (any, error) {
	id, err := p.identity(a)
	if err != nil {
		return nil, err
	}
	all, err := p.signer.Activity.Records()
	var r refused
	for _, record := range all {
		if n := id.RefusedByRules(record); n > 0 {
			r.Count, r.Last = r.Count+n, pagestate.Milliseconds(record.Last())
		}
	}
	return r, err
}

// hosts returns the servers that this phone remembers, the last seen first.
func (p *Phone) hosts(context.Context, arguments) (any, error) {
	all, err := p.signer.Hosts.All()
	return pagestate.Hosts(all), err
}

func (p *Phone) forgetHost(_ context.Context, a arguments) (any, error) {
	err := p.signer.Hosts.Forget(a.Fingerprint)
	if err != nil && !errors.Is(err, ErrStorage) {
		err = &Error{Code: "notFound", Message: "This phone does not remember that server."}
	}
	return nil, err
}
