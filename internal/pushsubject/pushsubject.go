// Package pushsubject checks and chooses the subject of a hub: the contact that
// it names to push services in each push (RFC 8292 section 2.1). It stands apart
// from the hub, since the agent checks the flag of its local hub and links
// nothing else of it.
package pushsubject

import (
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"

	"vmux/internal/hostname"
)

// Fallback is the subject of hubs whose own name nobody outside can look up. It
// has to be a name of the public DNS, since Apple's service refuses every push
// of a sender whose subject is not (403, BadJwtToken), and may reach nobody: it
// is the name that IANA keeps for whoever has none (RFC 2606 section 3).
const Fallback = "https://example.com"

// Parse returns the one form of a subject that somebody chose: mailto: with an
// address, or an https URL without a port. Its host is a name of the public
// DNS. The error says what is wrong.
func Parse(subject string) (string, error) {
	scheme, rest, _ := strings.Cut(subject, ":")
	switch strings.ToLower(scheme) {
	case "mailto":
		return parseMail(rest)
	case "https":
		return parseURL(subject)
	}
	return "", fmt.Errorf("neither mailto:ADDRESS nor an https URL: %q", subject)
}

func parseMail(address string) (string, error) {
	// Not "Name <address>", no spaces, no header fields (RFC 6068): services that
	// take the claim for an address compare it as it stands.
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Name != "" || parsed.Address != address || strings.ContainsAny(address, " ?%<>\"") {
		return "", fmt.Errorf("not an address behind mailto: %q", address)
	}
	if host := address[strings.LastIndexByte(address, '@')+1:]; !Public(host) {
		return "", notPublic(host)
	}
	return "mailto:" + address, nil
}

func parseURL(subject string) (string, error) {
	u, err := url.Parse(subject)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Opaque != "" || strings.ContainsAny(subject, " \t\r\n"):
		return "", fmt.Errorf("not an https URL of a page: %q", subject)
	case u.Port() != "":
		return "", errors.New("a URL with a port, which not all push services accept: leave it out")
	case !Public(u.Hostname()):
		return "", notPublic(u.Hostname())
	}
	return u.String(), nil
}

func notPublic(host string) error {
	return fmt.Errorf("%q is no name of the public DNS, and Apple's push service refuses such a subject", host)
}

// For is the subject of a hub that was given none: its own origin without the
// port, or Fallback where that is no name of the public DNS.
func For(origin string) string {
	u, err := url.Parse(origin)
	if err != nil || !Public(u.Hostname()) {
		return Fallback
	}
	return "https://" + strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
}

// Public reports whether a host name is one that the public DNS can have: below
// a suffix that is registered there, which no address, no single label and no
// reserved or made-up one is (.local, .lan, .internal, .test; RFC 6761, 6762).
func Public(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(host); err == nil || !hostname.Valid(host) {
		return false
	}
	// Two suffixes are on the list since names below them exist, for nobody else.
	for _, apart := range []string{"arpa", "onion", "fritz.box"} {
		if host == apart || strings.HasSuffix(host, "."+apart) {
			return false
		}
	}
	suffix, icann := publicsuffix.PublicSuffix(host)
	return strings.Contains(host, ".") && (icann || strings.Contains(suffix, "."))
}
