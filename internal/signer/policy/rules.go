// Package policy is what a person has allowed: what an identity may be used for, and what
// the CA issues. It says whether that can be, and whether a use is within it.
package policy

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"vmux/internal/signer/hosts"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// Uses that Rules.Forbid can name.
const (
	UseLogins       = "logins"
	UseSignatures   = "signatures"   // SSHSIG: files, git objects
	UseUnknown      = "unknown"      // bytes that the phone cannot read
	UseForwarded    = "forwarded"    // requests that come through another server
	UseCertificates = "certificates" // session certificates on the identity's behalf
	UseSudo         = "sudo"         // challenges of pam_ssh_agent_auth
)

// Uses are all of them.
var Uses = []string{UseLogins, UseSignatures, UseUnknown, UseForwarded, UseCertificates, UseSudo}

// Rules say what an identity may be used for. What they forbid is refused with
// wire.CodePolicyDenied, without asking. The zero value forbids nothing.
type Rules struct {
	// Hosts are the servers to log in to: fingerprints of host keys, which are
	// verified, or names. A name stands for the host keys that this phone
	// remembers by it; for one never seen before the computer's word counts,
	// once, and the person has to acknowledge that.
	Hosts []string `json:"hosts,omitempty"`
	// OldServers lets logins to a fingerprint among Hosts pass whose signed bytes do
	// not name the host key, since a server older than OpenSSH 8.9 has nothing better
	// than a session binding: see hosts.Destination.Downgraded for what that proves.
	OldServers bool `json:"oldServers,omitempty"`
	// Users are those to log in as.
	Users []string `json:"users,omitempty"`
	// Namespaces are the purposes of SSHSIG signatures: git, file.
	Namespaces []string `json:"namespaces,omitempty"`
	// Sudo are the servers whose sudo may ask: fingerprints of host keys, or names by
	// which this phone remembers them. What a challenge says of itself proves nothing. What
	// counts are the servers that the agent is forwarded to, by session bindings, and all
	// of them, since each could have made it up.
	Sudo []string `json:"sudo,omitempty"`
	// Forbid names uses that are refused altogether.
	Forbid []string `json:"forbid,omitempty"`
	// Hours is when the identity may be used, by this phone's clock and time
	// zone: "08:00-18:00", "mon-fri 08:00-18:00"; empty: always.
	Hours string `json:"hours,omitempty"`
}

// IsZero reports whether nothing is forbidden.
func (r Rules) IsZero() bool {
	return len(r.Hosts)+len(r.Users)+len(r.Namespaces)+len(r.Sudo)+len(r.Forbid)+len(r.Hours) == 0
}

// Check reports why the rules cannot be kept.
func (r Rules) Check() error {
	for name, list := range map[string][]string{"host": r.Hosts, "user": r.Users, "namespace": r.Namespaces, "server for sudo": r.Sudo} {
		if len(list) > maxList {
			return Invalid("over %d %ss", maxList, name)
		}
		for _, text := range list {
			if text == "" || len(text) > wire.MaxNameSize || !wire.Printable(text) || strings.ContainsAny(text, " ,") {
				return Invalid("not a %s: %q", name, text)
			}
		}
	}
	for _, use := range r.Forbid {
		if !slices.Contains(Uses, use) {
			return Invalid("not a use: %q; there are %s", use, strings.Join(Uses, ", "))
		}
	}
	_, err := parseHours(r.Hours)
	return err
}

// CheckHosts reports a host that cannot be. It is for what a person says now:
// identities that have such a rule since earlier can still be read.
func (r Rules) CheckHosts() error {
	if r.OldServers && len(r.Hosts) == 0 {
		return Invalid("old servers are allowed among the hosts that a key is limited to, and there are none")
	}
	for _, host := range slices.Concat(r.Hosts, r.Sudo) {
		if !isHost(host) {
			return Invalid("not the fingerprint of a host key, SHA256: and 43 characters: %q", host)
		}
	}
	return nil
}

// isHost reports whether the text is a name, or a whole fingerprint: one that no
// server can have would lock the key out everywhere.
func isHost(text string) bool {
	sum, isPrint := strings.CutPrefix(text, fingerprintPrefix)
	if !isPrint {
		return !strings.HasPrefix(strings.ToUpper(text), fingerprintPrefix) && !strings.HasPrefix(text, "MD5:")
	}
	b, err := base64.RawStdEncoding.Strict().DecodeString(sum)
	return err == nil && len(b) == sha256.Size
}

// OnlyHostKeys are the host keys to which the identity is limited, for agents
// that need not offer it elsewhere. Nil when a name is among the hosts: which
// host keys it stands for can change with each login.
func (r Rules) OnlyHostKeys() []string {
	byName := func(host string) bool { return !strings.HasPrefix(host, fingerprintPrefix) }
	if len(r.Hosts) > wire.MaxHosts || slices.ContainsFunc(r.Hosts, byName) {
		return nil
	}
	return slices.Clone(r.Hosts)
}

// fingerprintPrefix tells a fingerprint from a name.
const fingerprintPrefix = "SHA256:"

// RulesPrefix begins what a computer is told of a request that rules forbid.
const RulesPrefix = "policy of "

// Forbidden answers a request that an identity's rules forbid.
func Forbidden(label string, format string, args ...any) error {
	return wire.Errorf(wire.CodePolicyDenied, RulesPrefix+"%s: %s", wire.Clean(label), wire.Clean(fmt.Sprintf(format, args...)))
}

// Signature is what one would be for, as far as the phone knows.
type Signature struct {
	Known       sshctx.Context // what is to be signed
	Destination hosts.Destination
	HostName    wire.Text // the server's, by the computer's word
}

// Allow applies the identity's rules to a signature.
func (r Rules) Allow(label string, s Signature, now time.Time) error {
	if err := r.allowNow(label, now); err != nil {
		return err
	}
	if s.Destination.Forwarded() && slices.Contains(r.Forbid, UseForwarded) {
		return Forbidden(label, "no use through another server")
	}
	switch s.Known.Kind {
	case sshctx.UserAuth, sshctx.HostBound:
		return r.allowLogin(label, s)
	case sshctx.SSHSIG:
		if slices.Contains(r.Forbid, UseSignatures) {
			return Forbidden(label, "no signatures but logins")
		}
		if len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, s.Known.Namespace) {
			return Forbidden(label, "no signatures for %s", s.Known.Namespace)
		}
		return nil
	case sshctx.Sudo:
		return r.allowSudo(label, s.Destination)
	}
	if r.RefusesUnproven() {
		return Forbidden(label, "nothing that the phone cannot read")
	}
	return nil
}

// RefusesUnproven reports whether the rules refuse bytes that nobody can read, and sudo from
// servers that they do not name: these could be any of what they exclude.
func (r Rules) RefusesUnproven() bool {
	return slices.Contains(r.Forbid, UseUnknown) || len(r.Hosts)+len(r.Users)+len(r.Namespaces) > 0
}

func (r Rules) allowSudo(label string, d hosts.Destination) error {
	switch {
	case slices.Contains(r.Forbid, UseSudo), len(r.Sudo) == 0 && r.RefusesUnproven():
		return Forbidden(label, "no sudo")
	case len(r.Sudo) == 0:
		return nil
	case !d.Forwarded():
		return Forbidden(label, "no sudo but on servers that the agent is forwarded to")
	}
	for _, hop := range d.Via {
		fingerprint := sshctx.Fingerprint(hop.HostKey)
		named := slices.Contains(r.Sudo, fingerprint) || slices.ContainsFunc(hop.Names, func(name wire.Text) bool {
			return slices.Contains(r.Sudo, name.String())
		})
		if hop.Unproven || !named {
			return Forbidden(label, "no sudo through %s", fingerprint)
		}
	}
	return nil
}

func (r Rules) allowLogin(label string, s Signature) error {
	d := s.Destination
	switch {
	case slices.Contains(r.Forbid, UseLogins):
		return Forbidden(label, "no logins")
	case len(r.Users) > 0 && !slices.Contains(r.Users, s.Known.User):
		return Forbidden(label, "no login as %s", s.Known.User)
	case len(r.Hosts) == 0 || d.HostKey != nil && r.hasHost(s):
		return nil
	case d.HostKey != nil && slices.Contains(r.Hosts, d.Fingerprint()):
		return Forbidden(label, "no login to %s that does not name it in what is signed; for servers older than OpenSSH 8.9 allow old servers", d.Fingerprint())
	case d.HostKey == nil && d.Unproven != nil:
		return Forbidden(label, "no login to a server that is not proven, since this phone cannot check its host key (%s)", sshctx.TypeName(d.Unproven))
	case d.HostKey == nil:
		return Forbidden(label, "no login to a server that is not known")
	}
	name := s.HostName.String()
	if d.Memory == hosts.Changed && slices.Contains(r.Hosts, name) {
		return Forbidden(label, "no login to %s, which is another host key than those of %s", d.Fingerprint(), name)
	}
	if name != "" { // which is not always what was typed
		return Forbidden(label, "no login to %s, which the computer calls %s", d.Fingerprint(), name)
	}
	return Forbidden(label, "no login to %s", d.Fingerprint())
}

// ByName reports whether a login is to a server that passes for one of the hosts
// by the computer's word for its name alone.
func (r Rules) ByName(s Signature) bool {
	d := s.Destination
	return len(r.Hosts) > 0 && d.HostKey != nil && d.Memory == hosts.First && !slices.Contains(r.Hosts, d.Fingerprint())
}

func (r Rules) hasHost(s Signature) bool {
	d := s.Destination
	if slices.Contains(r.Hosts, d.Fingerprint()) && (r.OldServers || s.Known.Kind == sshctx.HostBound) {
		return true
	}
	if d.Memory == hosts.First {
		return s.HostName != (wire.Text{}) && slices.Contains(r.Hosts, s.HostName.String())
	}
	return slices.ContainsFunc(d.Names, func(name wire.Text) bool { return slices.Contains(r.Hosts, name.String()) })
}

// AllowCertificate applies the identity's rules to a session certificate, which
// is good for every server that trusts the CA.
func (r Rules) AllowCertificate(label string, principals []string, now time.Time) error {
	if err := r.allowNow(label, now); err != nil {
		return err
	}
	switch {
	case slices.Contains(r.Forbid, UseCertificates), slices.Contains(r.Forbid, UseLogins):
		return Forbidden(label, "no session certificates")
	case len(r.Hosts) > 0:
		return Forbidden(label, "no session certificates, since it is limited to certain servers")
	}
	for _, name := range principals {
		if len(r.Users) > 0 && !slices.Contains(r.Users, name) {
			return Forbidden(label, "no login as %s", name)
		}
	}
	return nil
}

func (r Rules) allowNow(label string, now time.Time) error {
	h, err := parseHours(r.Hours)
	if err != nil {
		return Forbidden(label, "its hours cannot be read")
	}
	if !h.contains(now) {
		return Forbidden(label, "only %s", r.Hours)
	}
	return nil
}

// ChangeOf says in words what is different.
func (r Rules) ChangeOf(before Rules) string {
	var c changes
	c.list("hosts", before.Hosts, r.Hosts, "any")
	c.text("old servers", yesNo(before.OldServers), yesNo(r.OldServers), "")
	c.list("users", before.Users, r.Users, "any")
	c.list("namespaces", before.Namespaces, r.Namespaces, "any")
	c.list("sudo on", before.Sudo, r.Sudo, "any")
	c.list("forbidden", before.Forbid, r.Forbid, "nothing")
	c.text("hours", before.Hours, r.Hours, "any")
	return strings.Join(c, "; ")
}
