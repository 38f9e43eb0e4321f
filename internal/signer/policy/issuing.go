package policy

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/wire"
)

const (
	// DefaultValidity is the longest validity of a new CA's policy.
	DefaultValidity = 8 * time.Hour
	// maxValidity bounds what a policy can allow: a session, not a key.
	maxValidity     = 7 * 24 * time.Hour
	minValidity     = time.Minute
	maxForceCommand = 1024
	maxList         = 64
)

// Issuing is what the CA issues.
type Issuing struct {
	MaxValiditySeconds int64    `json:"maxValiditySeconds"`
	AutomaticIssuance  bool     `json:"automaticIssuance"`
	Principals         []string `json:"principals"`
	Extensions         []string `json:"extensions"`
	SourceAddress      []string `json:"sourceAddress,omitempty"` // CIDR
	ForceCommand       string   `json:"forceCommand,omitempty"`
}

// defaultExtensions are what ssh-keygen gives a user certificate by default.
var defaultExtensions = []string{
	"permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty", "permit-user-rc",
}

// DefaultIssuing is the policy of a new CA.
func DefaultIssuing(principals []string) Issuing {
	return Issuing{
		MaxValiditySeconds: int64(DefaultValidity.Seconds()),
		Principals:         principals, Extensions: slices.Clone(defaultExtensions),
	}
}

// Check reports why the policy cannot be kept.
func (p Issuing) Check() error {
	v := time.Duration(p.MaxValiditySeconds) * time.Second
	if v < minValidity || v > maxValidity {
		return Invalid("the longest validity is %s to %s, not %s", minValidity, maxValidity, v)
	}
	if len(p.ForceCommand) > maxForceCommand || !wire.Printable(p.ForceCommand) {
		return Invalid("a forced command is one printable line of at most %d bytes", maxForceCommand)
	}
	if len(p.Extensions) > maxList || len(p.SourceAddress) > maxList {
		return Invalid("over %d extensions or source addresses", maxList)
	}
	for _, e := range p.Extensions {
		if e == "" || !wire.Printable(e) || strings.ContainsAny(e, " ,") {
			return Invalid("not an extension: %q", e)
		}
	}
	for _, a := range p.SourceAddress {
		if !isSourceAddress(a) {
			return Invalid("not an address or a network such as 192.0.2.0/24: %q", a)
		}
	}
	return CheckPrincipals(p.Principals)
}

// isSourceAddress reports whether sshd takes a for source-address: like
// ssh-keygen it refuses networks with bits behind the mask.
func isSourceAddress(a string) bool {
	if p, err := netip.ParsePrefix(a); err == nil {
		return p == p.Masked()
	}
	addr, err := netip.ParseAddr(a)
	return err == nil && addr.Zone() == ""
}

// Permissions are those of a certificate.
func (p Issuing) Permissions() ssh.Permissions {
	perms := ssh.Permissions{CriticalOptions: map[string]string{}, Extensions: map[string]string{}}
	for _, e := range p.Extensions {
		perms.Extensions[e] = ""
	}
	if len(p.SourceAddress) > 0 {
		perms.CriticalOptions["source-address"] = strings.Join(p.SourceAddress, ",")
	}
	if p.ForceCommand != "" {
		perms.CriticalOptions["force-command"] = p.ForceCommand
	}
	return perms
}

// ChangeOf says in words what is different.
func (p Issuing) ChangeOf(before Issuing) string {
	var c changes
	c.list("principals", before.Principals, p.Principals, "none")
	c.list("extensions", before.Extensions, p.Extensions, "none")
	c.list("source addresses", before.SourceAddress, p.SourceAddress, "any")
	c.text("forced command", before.ForceCommand, p.ForceCommand, "none")
	c.text("longest validity", seconds(before.MaxValiditySeconds), seconds(p.MaxValiditySeconds), "")
	c.text("issued unasked", yesNo(before.AutomaticIssuance), yesNo(p.AutomaticIssuance), "")
	return strings.Join(c, "; ")
}
