package pagestate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"vmux/internal/confusable"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/signer"
	"vmux/internal/signer/authority"
	"vmux/internal/signer/certificates"
	"vmux/internal/signer/hosts"
	"vmux/internal/signer/identity"
	"vmux/internal/sshctx"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

// Computers are the paired ones, with how it stands with each.
func Computers(peers []device.Peer, links []link.PeerStatus) []Computer {
	status := map[device.ID]link.PeerStatus{}
	for _, s := range links {
		status[s.ID] = s
	}
	list := []Computer{}
	for _, peer := range peers {
		c := Computer{ID: peer.ID.String(), Name: NameAmong(peers, peer)}
		s := status[peer.ID]
		c.Connected, c.Connecting, c.Since = s.Connected, s.Connecting, Milliseconds(s.Since)
		c.ClockDifferenceSeconds = int64(s.ClockDifference / time.Second)
		c.OpenSSHVersion = s.Hello.OpenSSHVersion
		if s.LastError != nil {
			c.LastError = wire.Clean(s.LastError.Error())
		}
		list = append(list, c)
	}
	return list
}

// NameAmong is a computer's name; where another one has it too, or one that looks
// like it, or it has brackets as around an ID, with the beginning of its device ID.
// Computers name themselves, at any time, and one could take the name of another, with
// its ID, to have its requests taken for the other's.
func NameAmong(peers []device.Peer, peer device.Peer) wire.Text {
	name, withID := peer.Name.String(), wire.Say("%s (%s)", peer.Name, wire.Clean(peer.ID.Short()))
	if strings.IndexFunc(name, func(r rune) bool { return unicode.In(r, unicode.Ps, unicode.Pe) }) >= 0 {
		return withID
	}
	for _, other := range peers {
		if other.ID != peer.ID && confusable.Alike(other.Name.String(), name) {
			return withID
		}
	}
	return peer.Name
}

// Milliseconds is a time as the page reads it: 0 if it is none.
func Milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Identities are the phone's keys. Credential is the passkey of a key, or of its vault.
func Identities(ids []identity.Identity, credential func(identity.Identity) (webauthn.Credential, error), computers []Computer) []Identity {
	list := []Identity{}
	for _, id := range ids {
		i := Identity{
			Fingerprint: id.Fingerprint(), Label: id.Label, Algorithm: id.Algorithm, Kind: id.Provider,
			Enabled: id.Enabled, Default: id.Default, CreatedAt: Milliseconds(id.CreatedAt),
			Principals: slices.Clone(id.Principals), AuthorizedKey: Line(id), PublicKey: id.AuthorizedKey(),
		}
		if i.Principals == nil {
			i.Principals = []string{}
		}
		if !id.Rules.IsZero() {
			i.Rules = &id.Rules
		}
		if id.Provider != identity.ProviderPassphrase {
			i.describe(credential, id, computers)
		}
		list = append(list, i)
	}
	return list
}

// describe adds what follows from the passkey that the private key is, or that opens its vault.
func (i *Identity) describe(credential func(identity.Identity) (webauthn.Credential, error), id identity.Identity, computers []Computer) {
	inVault := id.Provider == identity.ProviderVault
	c, err := credential(id)
	if err != nil {
		i.Warning = "What this phone knew of the passkey is missing: it cannot sign."
		if inVault {
			i.Warning = "The vault of this key is missing: it cannot sign."
		}
		return
	}
	i.BackedUp, i.BackupEligible = &c.BackedUp, c.BackupEligible
	var old []string
	for _, computer := range computers {
		if !inVault && tooOld(computer.OpenSSHVersion) {
			old = append(old, computer.Name.String()+" ("+computer.OpenSSHVersion+")")
		}
	}
	if len(old) > 0 {
		i.Warning = wire.Show("The SSH client is too old for passkeys on " + strings.Join(old, ", ") +
			": OpenSSH 10.3 or newer is needed there. A vault key works with every client.")
	}
}

// tooOld reports whether an OpenSSH client refuses passkeys' signatures. An
// unknown one is not called old.
func tooOld(version string) bool {
	_, number, found := strings.Cut(version, "OpenSSH_")
	number, _, _ = strings.Cut(strings.TrimPrefix(number, "for_Windows_"), "p")
	first, second, _ := strings.Cut(number, ".")
	major, err := strconv.Atoi(first)
	if !found || err != nil {
		return false
	}
	minor, err := strconv.Atoi(second)
	return err == nil && (major < 10 || major == 10 && minor < 3)
}

// Line is the identity's line for authorized_keys. A passkey's makes the server
// insist on user verification.
func Line(id identity.Identity) string {
	if id.Provider == identity.ProviderPasskey {
		return "verify-required " + id.AuthorizedKey()
	}
	return id.AuthorizedKey()
}

// CAOf is the certificate authority.
func CAOf(ca authority.CA) *CA {
	hint := "Put the line into a file on the server, for example /etc/ssh/vmux_ca.pub, and into sshd_config: TrustedUserCAKeys /etc/ssh/vmux_ca.pub"
	if ca.Provider == identity.ProviderPasskey {
		hint += fmt.Sprintf("\nOpenSSH before 10.3 also needs: CASignatureAlgorithms +%s", sshctx.FormatWebAuthn)
	}
	rules := ca.Policy
	for _, list := range []*[]string{&rules.Principals, &rules.Extensions, &rules.SourceAddress} {
		if *list == nil {
			*list = []string{}
		}
	}
	return &CA{
		Fingerprint: sshctx.Fingerprint(ca.PublicKey), Kind: ca.Provider, Line: ca.AuthorizedKey(),
		Policy: rules, ServerHint: hint,
	}
}

// maxCertificates bounds those that are listed.
const maxCertificates = 256

// Certificates are those that have not expired, newest first.
func Certificates(all []certificates.Issued, now time.Time) []Certificate {
	list := []Certificate{}
	for _, i := range slices.Backward(all) {
		if now.Before(i.ValidUntil) && len(list) < maxCertificates {
			list = append(list, Certificate{
				Serial: i.Serial, Computer: i.DeviceName, Identity: i.Label, Principals: i.Principals,
				ValidAfter: Milliseconds(i.ValidAfter), ValidBefore: Milliseconds(i.ValidUntil),
				IssuedAt: Milliseconds(i.IssuedAt), RevokedAt: Milliseconds(i.RevokedAt),
			})
		}
	}
	return list
}

// GrantsOf are the grants that are held.
func GrantsOf(held []signer.Grant) []Grant {
	list := []Grant{}
	for _, g := range held {
		list = append(list, Grant{
			ID: g.ID, Label: g.Label, Computer: g.DeviceName, What: g.What,
			Since: Milliseconds(g.Since), Until: Milliseconds(g.Until),
		})
	}
	return list
}

// PauseOf is a pause.
func PauseOf(p signer.Pause) Pause {
	return Pause{ComputerID: p.DeviceID.String(), Computer: p.DeviceName, Program: p.Program, Until: Milliseconds(p.Until)}
}

// Hosts are the servers that the phone remembers, the last seen first.
func Hosts(all []hosts.Host) []Host {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b hosts.Host) int { return b.LastSeen.Compare(a.LastSeen) })
	list := []Host{}
	for _, h := range all {
		list = append(list, Host{
			Fingerprint: h.Fingerprint(), Names: append([]wire.Text{}, h.Names...), Users: append([]wire.Text{}, h.Users...),
			FirstSeen: Milliseconds(h.FirstSeen), LastSeen: Milliseconds(h.LastSeen),
		})
	}
	return list
}
