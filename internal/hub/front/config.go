package front

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"vmux/internal/hostname"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// Config is how a hub is reached. At most one of the ways CertFile, ACMEDomains,
// BehindProxy and LocalCA is chosen; without one the hub is on this machine only.
type Config struct {
	// Listen is the address of the hub's listener, HOST:PORT. Empty: :443 with
	// CertFile or ACMEDomains, :8722 with LocalCA, else 127.0.0.1:8722.
	Listen string
	// ListenHTTP is the address of a second listener without TLS. It sends
	// browsers to the hub, answers ACME's HTTP-01 challenges, and with LocalCA
	// offers its root. Empty: with LocalCA the port after Listen's, if it is free,
	// else none. "none": none.
	ListenHTTP string
	// PublicURL is where devices find the hub: https://HOST[:PORT], or http for
	// localhost. Required with BehindProxy; otherwise it follows from the rest.
	PublicURL string

	// CertFile and KeyFile are a certificate chain and its key in PEM. They are
	// read again when they change.
	CertFile, KeyFile string

	// ACMEDomains are the names that certificates are obtained for; the terms of
	// the certificate authority are agreed to.
	ACMEDomains []string
	// ACMEEmail is told to the certificate authority.
	ACMEEmail string
	// ACMEBinding is a file with the ID and the key (base64url) by which an authority that
	// wants one knows an account of its own (RFC 8555 section 7.3.4), in two words.
	ACMEBinding string
	// ACMEDirectory is the URL of another authority than Let's Encrypt.
	ACMEDirectory string
	// ACMERoots is a file with the certificates, in PEM, that ACMEDirectory is
	// verified with, if they are not the system's.
	ACMERoots string

	// BehindProxy: a proxy on this machine or in the private network has the
	// certificate; the hub speaks plain HTTP to it and to nobody else.
	BehindProxy bool

	// LocalCA: certificates come from a CA of the hub's own, whose root is
	// installed on the phones.
	LocalCA bool
	// LocalNames are the host names and addresses that LocalCA certifies. Empty:
	// the host of PublicURL, or else this machine's name in multicast DNS, NAME.local,
	// at the first start.
	LocalNames []string

	// StateDir is the folder of what must be remembered, made with mode 0700.
	// Required with ACMEDomains and LocalCA.
	StateDir string
	// Log is where the front writes; nil discards.
	Log *slog.Logger
	// Now is the clock of the hub's own certificates; nil: time.Now.
	Now func() time.Time

	httpMayFail bool          // nobody asked for ListenHTTP
	kept        hostname.Name // with LocalCA and without a name
}

// Flags defines the flags that set c.
func (c *Config) Flags(flags *pflag.FlagSet) {
	flags.StringVar(&c.Listen, "listen", "", "address of the hub, `HOST:PORT` (default: :443, :8722 with --local-ca, else 127.0.0.1:8722)")
	flags.StringVar(&c.ListenHTTP, "listen-http", "", "address of a second listener that leads browsers to the hub, `HOST:PORT` or none (default: with --local-ca the port after --listen's, else none)")
	flags.StringVar(&c.PublicURL, "public-url", "", "where devices find the hub, `URL`; its host name is that of the passkeys")
	flags.StringVar(&c.CertFile, "tls-cert", "", "certificate chain in PEM, `FILE`, read again when it changes")
	flags.StringVar(&c.KeyFile, "tls-key", "", "its private key in PEM, `FILE`")
	flags.StringArrayVar(&c.ACMEDomains, "acme-domain", nil, "obtain certificates for this `NAME` by ACME, and agree to the authority's terms (may be repeated)")
	flags.StringVar(&c.ACMEEmail, "acme-email", "", "`ADDRESS` for the ACME authority")
	flags.StringVar(&c.ACMEBinding, "acme-eab", "", "`FILE` with key ID and HMAC key of an account at the ACME authority (external account binding), for those that want one")
	flags.StringVar(&c.ACMEDirectory, "acme-directory", "", "`URL` of another ACME authority than Let's Encrypt")
	flags.StringVar(&c.ACMERoots, "acme-roots", "", "`FILE` with the roots in PEM that the ACME authority is verified with")
	flags.BoolVar(&c.BehindProxy, "behind-proxy", false, "a proxy beside the hub has the certificate and names the clients in X-Forwarded-For")
	flags.BoolVar(&c.LocalCA, "local-ca", false, "for a home network: a CA of the hub's own, to be installed on the phones")
	flags.StringArrayVar(&c.LocalNames, "local-name", nil, "host `NAME` or address that the local CA certifies (may be repeated; default: that of --public-url, or this machine's at the first start, NAME.local)")
}

// NeedsState reports whether StateDir is required.
func (c *Config) NeedsState() bool { return c.LocalCA || len(c.ACMEDomains) > 0 }

// ErrUsage is wrapped by the errors about a configuration that contradicts itself.
var ErrUsage = errors.New("wrong usage")

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUsage}, args...)...)
}

// check fills in what follows from the rest and finds contradictions.
func (c *Config) check() error {
	ways := 0
	for _, chosen := range []bool{c.CertFile != "" || c.KeyFile != "", len(c.ACMEDomains) > 0, c.BehindProxy, c.LocalCA} {
		if chosen {
			ways++
		}
	}
	switch {
	case ways > 1:
		return usage("choose one of --tls-cert, --acme-domain, --behind-proxy and --local-ca")
	case (c.CertFile == "") != (c.KeyFile == ""):
		return usage("--tls-cert and --tls-key go together")
	case c.BehindProxy && c.PublicURL == "":
		return usage("behind a proxy the hub cannot know where devices find it: give --public-url")
	case !c.LocalCA && len(c.LocalNames) > 0:
		return usage("--local-name goes with --local-ca")
	case len(c.ACMEDomains) == 0 && (c.ACMEEmail != "" || c.ACMEBinding != "" || c.ACMEDirectory != "" || c.ACMERoots != ""):
		return usage("--acme-email, --acme-eab, --acme-directory and --acme-roots go with --acme-domain")
	case c.StateDir == "" && c.NeedsState():
		return errors.New("front: no folder for its state")
	}
	c.defaults(ways == 0)
	if err := c.checkListeners(); err != nil {
		return err
	}
	if ways == 0 && !isLoopback(c.Listen) {
		return usage("without TLS the hub listens on this machine only: choose --tls-cert, --acme-domain, --behind-proxy or --local-ca")
	}
	if err := c.checkURL(ways); err != nil {
		return err
	}
	if c.LocalCA && len(c.LocalNames) == 0 {
		return c.nameThisMachine()
	}
	return nil
}

// checkListeners finds what is no HOST:PORT. A host by name is looked up when it
// is listened at.
func (c *Config) checkListeners() error {
	for flag, address := range map[string]string{"--listen": c.Listen, "--listen-http": c.ListenHTTP} {
		if address == "" { // ListenHTTP
			continue
		}
		_, port, err := net.SplitHostPort(address)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			return usage("%s accepts HOST:PORT with a port up to 65535, not %q", flag, address)
		}
	}
	return nil
}

// checkURL brings a given public URL into its one form. It is https just when
// browsers see TLS.
func (c *Config) checkURL(ways int) error {
	if c.PublicURL == "" {
		return nil
	}
	u, err := wire.ParseHubURL(c.PublicURL)
	if err != nil {
		return usage("--public-url: %w", err)
	}
	if strings.HasPrefix(u, "https:") != (ways > 0) {
		return usage("--public-url is https with --tls-cert, --acme-domain, --behind-proxy or --local-ca, else http://localhost")
	}
	c.PublicURL = u
	return nil
}

func (c *Config) defaults(plain bool) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Listen == "" {
		switch {
		case plain || c.BehindProxy:
			c.Listen = "127.0.0.1:8722"
		case c.LocalCA:
			c.Listen = ":8722"
		default:
			c.Listen = ":443"
		}
	}
	if c.ListenHTTP == "" && c.LocalCA {
		c.ListenHTTP, c.httpMayFail = nextPort(c.Listen), true
	}
	if c.ListenHTTP == "none" {
		c.ListenHTTP = ""
	}
}

// nextPort returns the address with the port after its own; any port stays any.
func nextPort(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	n, numeric := strconv.ParseUint(port, 10, 16)
	if err != nil || numeric != nil || n == math.MaxUint16 {
		return ""
	}
	if n > 0 {
		n++
	}
	return net.JoinHostPort(host, fmt.Sprint(n))
}

// nameThisMachine is for a hub that was given no name: it has the one of its first
// start.
func (c *Config) nameThisMachine() error {
	if u, err := url.Parse(c.PublicURL); err == nil && u.Hostname() != "" {
		c.LocalNames = []string{u.Hostname()}
		return nil
	}
	dir, err := state.OpenDir(c.StateDir)
	if err != nil {
		return err
	}
	name, err := hostname.Keep(dir)
	if unusable, ok := errors.AsType[*hostname.Unusable](err); ok {
		return &noName{unusable}
	}
	if err != nil {
		return err
	}
	c.LocalNames, c.kept = []string{name.Kept}, name
	return nil
}

// noName is a computer whose name is of no use to its hub.
type noName struct{ *hostname.Unusable }

// Unwrap implements errors.Is: to start the hub again changes nothing.
func (e *noName) Unwrap() error { return ErrUsage }

// Hint tells both ways to a name.
func (e *noName) Hint() string { return e.Unusable.Hint() + ", or name the hub by --local-name" }

func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// publicURL returns where devices find the hub that listens on the port. The
// host is that of the way that was chosen.
func (c *Config) publicURL(host string, port int) (string, error) {
	if c.PublicURL != "" {
		return c.PublicURL, nil
	}
	scheme := "https"
	if host == "" {
		scheme, host = "http", "localhost"
	}
	u := url.URL{Scheme: scheme, Host: net.JoinHostPort(host, fmt.Sprint(port))}
	return wire.ParseHubURL(u.String())
}
