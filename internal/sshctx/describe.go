package sshctx

import "vmux/internal/wire"

// Describe returns one line for people that says what the signature is for:
// "root login, host key SHA256:…", "root login, server unknown", "git signature",
// or "unknown" for the zero Context. User names and namespaces come from the
// computer and are made fit to be shown.
func (c Context) Describe() string {
	switch c.Kind {
	case HostBound:
		return wire.Show(c.User) + " login, host key " + Fingerprint(c.HostKey)
	case UserAuth:
		return wire.Show(c.User) + " login, server unknown"
	case SSHSIG:
		return wire.Show(c.Namespace) + " signature"
	}
	return "unknown"
}

// DescribeBound is Describe for a Context that the binding belongs to: it names
// the host key also where the signed bytes do not.
func (c Context) DescribeBound(b Binding) string {
	if c.Kind != UserAuth || !b.Covers(c) {
		return c.Describe()
	}
	return wire.Show(c.User) + " login, host key " + Fingerprint(b.HostKey)
}
