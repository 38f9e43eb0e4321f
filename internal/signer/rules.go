package signer

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vmux/internal/signer/activity"
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
)

// Uses are all of them.
var Uses = []string{UseLogins, UseSignatures, UseUnknown, UseForwarded, UseCertificates}

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
	// than a session binding: see Destination.Downgraded for what that proves.
	OldServers bool `json:"oldServers,omitempty"`
	// Users are those to log in as.
	Users []string `json:"users,omitempty"`
	// Namespaces are the purposes of SSHSIG signatures: git, file.
	Namespaces []string `json:"namespaces,omitempty"`
	// Forbid names uses that are refused altogether.
	Forbid []string `json:"forbid,omitempty"`
	// Hours is when the identity may be used, by this phone's clock and time
	// zone: "08:00-18:00", "mon-fri 08:00-18:00"; empty: always.
	Hours string `json:"hours,omitempty"`
}

// IsZero reports whether nothing is forbidden.
func (r Rules) IsZero() bool {
	return len(r.Hosts)+len(r.Users)+len(r.Namespaces)+len(r.Forbid)+len(r.Hours) == 0
}

// Check reports why the rules cannot be kept.
func (r Rules) Check() error {
	for name, list := range map[string][]string{"host": r.Hosts, "user": r.Users, "namespace": r.Namespaces} {
		if len(list) > maxPolicyList {
			return badInput("over %d %ss", maxPolicyList, name)
		}
		for _, text := range list {
			if text == "" || len(text) > wire.MaxNameSize || !wire.Printable(text) || strings.ContainsAny(text, " ,") {
				return badInput("not a %s: %q", name, text)
			}
		}
	}
	for _, use := range r.Forbid {
		if !slices.Contains(Uses, use) {
			return badInput("not a use: %q; there are %s", use, strings.Join(Uses, ", "))
		}
	}
	_, err := parseHours(r.Hours)
	return err
}

// checkHosts reports a host that cannot be. It is for what a person says now:
// identities that have such a rule since earlier can still be read.
func (r Rules) checkHosts() error {
	if r.OldServers && len(r.Hosts) == 0 {
		return badInput("old servers are allowed among the hosts that a key is limited to, and there are none")
	}
	for _, host := range r.Hosts {
		if !isHost(host) {
			return badInput("not the fingerprint of a host key, SHA256: and 43 characters: %q", host)
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

// SetRules replaces an identity's rules by what change makes of them.
func (s *Signer) SetRules(id Identity, edit func(*Rules)) (Rules, error) {
	var rules Rules
	err := s.changeIdentities(func(list []Identity) ([]Identity, *activity.Record, error) {
		var failed error
		var rec *activity.Record
		err := change(list, id, func(i *Identity) {
			rules = i.Rules
			edit(&rules)
			if failed = errors.Join(rules.Check(), rules.checkHosts()); failed != nil {
				return
			}
			if what := rules.changeOf(i.Rules); what != "" {
				rec = keyRecord(*i, activity.DecisionChanged, "policy: "+what)
			}
			i.Rules = rules
		})
		return list, rec, errors.Join(err, failed)
	})
	return rules, err
}

// onlyHostKeys are the host keys to which the identity is limited, for agents
// that need not offer it elsewhere. Nil when a name is among the hosts: which
// host keys it stands for can change with each login.
func (r Rules) onlyHostKeys() []string {
	byName := func(host string) bool { return !strings.HasPrefix(host, fingerprintPrefix) }
	if len(r.Hosts) > wire.MaxHosts || slices.ContainsFunc(r.Hosts, byName) {
		return nil
	}
	return slices.Clone(r.Hosts)
}

// fingerprintPrefix tells a fingerprint from a name.
const fingerprintPrefix = "SHA256:"

// rulesPrefix begins what a computer is told of a request that rules forbid.
const rulesPrefix = "policy of "

func forbidden(id Identity, format string, args ...any) error {
	return wire.Errorf(wire.CodePolicyDenied, rulesPrefix+"%s: %s", wire.Clean(id.Label), wire.Clean(fmt.Sprintf(format, args...)))
}

// RefusedByRules counts the requests of a record that the identity's rules have
// refused.
func (i Identity) RefusedByRules(r activity.Record) int { return r.Keys[i.Fingerprint()] }

// allow applies the identity's rules to a signature.
func (r Rules) allow(id Identity, s SignSheet, now time.Time) error {
	if err := r.allowNow(id, now); err != nil {
		return err
	}
	if s.Destination.Forwarded() && slices.Contains(r.Forbid, UseForwarded) {
		return forbidden(id, "no use through another server")
	}
	switch s.Known.Kind {
	case sshctx.UserAuth, sshctx.HostBound:
		return r.allowLogin(id, s)
	case sshctx.SSHSIG:
		if slices.Contains(r.Forbid, UseSignatures) {
			return forbidden(id, "no signatures but logins")
		}
		if len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, s.Known.Namespace) {
			return forbidden(id, "no signatures for %s", s.Known.Namespace)
		}
		return nil
	}
	// Bytes that nobody can read could be any of what the rules exclude.
	if slices.Contains(r.Forbid, UseUnknown) || len(r.Hosts)+len(r.Users)+len(r.Namespaces) > 0 {
		return forbidden(id, "nothing that the phone cannot read")
	}
	return nil
}

func (r Rules) allowLogin(id Identity, s SignSheet) error {
	d := s.Destination
	switch {
	case slices.Contains(r.Forbid, UseLogins):
		return forbidden(id, "no logins")
	case len(r.Users) > 0 && !slices.Contains(r.Users, s.Known.User):
		return forbidden(id, "no login as %s", s.Known.User)
	case len(r.Hosts) == 0 || d.HostKey != nil && r.hasHost(s):
		return nil
	case d.HostKey != nil && slices.Contains(r.Hosts, d.Fingerprint()):
		return forbidden(id, "no login to %s that does not name it in what is signed; for servers older than OpenSSH 8.9 allow old servers", d.Fingerprint())
	case d.HostKey == nil && d.Unproven != nil:
		return forbidden(id, "no login to a server that is not proven, since this phone cannot check its host key (%s)", sshctx.TypeName(d.Unproven))
	case d.HostKey == nil:
		return forbidden(id, "no login to a server that is not known")
	}
	if name := s.Claimed.HostName.String(); d.Memory == HostChanged && slices.Contains(r.Hosts, name) {
		return forbidden(id, "no login to %s, which is another host key than those of %s", d.Fingerprint(), name)
	}
	return forbidden(id, "no login to %s", d.Fingerprint())
}

// byName reports whether a login is to a server that passes for one of the hosts
// by the computer's word for its name alone.
func (r Rules) byName(s SignSheet) bool {
	d := s.Destination
	return len(r.Hosts) > 0 && d.HostKey != nil && d.Memory == HostFirst && !slices.Contains(r.Hosts, d.Fingerprint())
}

func (r Rules) hasHost(s SignSheet) bool {
	d := s.Destination
	if slices.Contains(r.Hosts, d.Fingerprint()) && (r.OldServers || s.Known.Kind == sshctx.HostBound) {
		return true
	}
	if d.Memory == HostFirst {
		return s.Claimed.HostName != (wire.Text{}) && slices.Contains(r.Hosts, s.Claimed.HostName.String())
	}
	return slices.ContainsFunc(d.Names, func(name wire.Text) bool { return slices.Contains(r.Hosts, name.String()) })
}

// allowCertificate applies the identity's rules to a session certificate, which
// is good for every server that trusts the CA.
func (r Rules) allowCertificate(id Identity, principals []string, now time.Time) error {
	if err := r.allowNow(id, now); err != nil {
		return err
	}
	switch {
	case slices.Contains(r.Forbid, UseCertificates), slices.Contains(r.Forbid, UseLogins):
		return forbidden(id, "no session certificates")
	case len(r.Hosts) > 0:
		return forbidden(id, "no session certificates, since it is limited to certain servers")
	}
	for _, name := range principals {
		if len(r.Users) > 0 && !slices.Contains(r.Users, name) {
			return forbidden(id, "no login as %s", name)
		}
	}
	return nil
}

func (r Rules) allowNow(id Identity, now time.Time) error {
	h, err := parseHours(r.Hours)
	if err != nil {
		return forbidden(id, "its hours cannot be read")
	}
	if !h.contains(now) {
		return forbidden(id, "only %s", r.Hours)
	}
	return nil
}

// hoursEnd is when the hours that now lies in end, zero if not within that time:
// a certificate that outlasts them would be good for logins outside of them.
func (r Rules) hoursEnd(now time.Time, within time.Duration) (time.Time, error) {
	h, err := parseHours(r.Hours)
	if err != nil || !h.set {
		return time.Time{}, err
	}
	// Minute by minute, since a day of the wall clock need not have 24 hours.
	minute := now.Round(0).Add(-time.Duration(now.Second())*time.Second - time.Duration(now.Nanosecond()))
	for at := minute.Add(time.Minute); at.Sub(now) < within; at = at.Add(time.Minute) {
		if !h.contains(at) {
			return at, nil
		}
	}
	return time.Time{}, nil
}

// hours are minutes of some days of the week; the zero value is always.
type hours struct {
	days     [7]bool // by time.Weekday
	from, to int     // minutes since midnight; to may be the smaller one: overnight
	set      bool
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseHours reads "[DAY[-DAY] ]HH:MM-HH:MM".
func parseHours(text string) (hours, error) {
	if text == "" {
		return hours{}, nil
	}
	bad := badInput("not hours such as 08:00-18:00 or mon-fri 08:00-18:00: %q", text)
	days, span, found := strings.Cut(text, " ")
	if !found {
		days, span = "sun-sat", text
	}
	h := hours{set: true}
	first, last, found := strings.Cut(days, "-")
	if !found {
		last = first
	}
	a, b := slices.Index(weekdays, first), slices.Index(weekdays, last)
	if a < 0 || b < 0 {
		return hours{}, bad
	}
	for d := a; ; d = (d + 1) % 7 {
		h.days[d] = true
		if d == b {
			break
		}
	}
	from, to, found := strings.Cut(span, "-")
	start, err := time.Parse("15:04", from)
	end, err2 := time.Parse("15:04", to)
	if !found || err != nil || err2 != nil || start.Equal(end) {
		return hours{}, bad
	}
	h.from, h.to = start.Hour()*60+start.Minute(), end.Hour()*60+end.Minute()
	return h, nil
}

// contains reports whether t lies in the hours. What begins on an allowed day
// goes on past midnight.
func (h hours) contains(t time.Time) bool {
	if !h.set {
		return true
	}
	minute, day := t.Hour()*60+t.Minute(), t.Weekday()
	if h.from < h.to {
		return h.days[day] && h.from <= minute && minute < h.to
	}
	return h.days[day] && minute >= h.from || h.days[(day+6)%7] && minute < h.to
}
