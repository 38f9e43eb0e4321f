package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ErrHubURL is wrapped by the errors of ParseHubURL.
var ErrHubURL = errors.New("not a hub's URL")

// ParseHubURL returns a hub's public URL in its one form, which is its origin as
// browsers write it: scheme and host in lower case without a dot at its end, the port only if it is not
// the scheme's own, no slash at the end. It is https, since the hub's page is
// what a phone runs; http is for this very machine alone, where nobody stands
// between. It has no path: whatever else stood on the same origin could use the
// page's keys. Errors wrap ErrHubURL.
func ParseHubURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || len(s) > MaxNameSize || !Printable(s) {
		return "", ErrHubURL
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".") // the root, which browsers would keep
	switch {
	case host == "" || u.Opaque != "":
		return "", fmt.Errorf("%w: want https://HOST", ErrHubURL)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(s, "#"):
		return "", fmt.Errorf("%w: it has more than a host", ErrHubURL)
	case u.Path != "" && u.Path != "/":
		return "", fmt.Errorf("%w: a hub needs a host name of its own, and no path", ErrHubURL)
	case strings.ContainsFunc(host, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '%' }):
		return "", fmt.Errorf("%w: write the host's name in ASCII", ErrHubURL)
	case u.Scheme == "http" && !loopback(host):
		return "", fmt.Errorf("%w: http is for localhost only, want https", ErrHubURL)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("%w: want https://HOST", ErrHubURL)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port := u.Port()
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return "", fmt.Errorf("%w: no such port", ErrHubURL)
	}
	if port != "" && port != map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		host += ":" + port
	}
	return u.Scheme + "://" + host, nil
}

func loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// ServiceWebPush is the DeviceTokenUpdate.Service of phones that a hub wakes by
// Web Push (RFC 8030).
const ServiceWebPush = "webpush"

// DeviceTokenUpdate tells the agent whether this phone can be woken, and by
// whom. The subscription itself the hub has from the phone: an agent has no use
// for it. It is sent after each link-up and when it changes, and is not answered
// unless it is malformed.
type DeviceTokenUpdate struct {
	Service string `json:"service"` // ServiceWebPush
	Hub     string `json:"hub"`     // the hub's URL, in the form of ParseHubURL
	Active  bool   `json:"active"`
	// Reason is why it is not active: one of those below, or one of a later
	// version, of at most 32 bytes.
	Reason string `json:"reason,omitempty"`
}

// Why a phone cannot be woken.
const (
	WakeOff    = "off"    // its person has not turned notifications on
	WakeDenied = "denied" // the phone does not let the app notify
	WakeFailed = "failed" // its browser or its push service does not do it
)

const maxWakeReason = 32

// Check reports what is malformed.
func (r *DeviceTokenUpdate) Check() error {
	if r.Service != ServiceWebPush {
		return errors.New("unknown service")
	}
	if u, err := ParseHubURL(r.Hub); err != nil || u != r.Hub {
		return errors.New("hub is not a hub's URL in its one form")
	}
	if len(r.Reason) > maxWakeReason {
		return errors.New("reason is too long")
	}
	return nil
}
