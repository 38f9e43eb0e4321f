package front

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"vmux/internal/state"
)

const (
	// rootFile is the local CA's root in PEM, for whoever wants to verify the hub.
	// secretFile is the same with its private key, mode 0600.
	rootFile   = "ca/root.pem"
	secretFile = "ca/root.key"

	rootLife = 10 * 365 * 24 * time.Hour
	// A leaf is made anew when less than leafRenew of its leafLife is left. Both
	// are far below the 825 days that Apple's platforms accept, so that a copied
	// key is soon worth nothing.
	leafLife  = 7 * 24 * time.Hour
	leafRenew = 3 * 24 * time.Hour
	// skew is how much a phone's clock may be behind.
	skew = time.Hour
)

// localCA is a certificate authority for one home's hub. A root that is
// installed on a phone vouches for any site there is, which would make this
// machine's disk as valuable as the phone: so the root itself says that it
// vouches for the hub's names only (RFC 5280 section 4.2.1.10), and for servers
// only.
type localCA struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
	dns  []string
	ips  []net.IP
	log  *slog.Logger
	now  func() time.Time

	mu   sync.Mutex
	leaf *tls.Certificate
}

var hostName = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$`)

// openLocalCA reads the root, or makes one: at the first start, and when it does
// not vouch for all the names.
func openLocalCA(c Config) (*localCA, error) {
	ca := &localCA{log: c.Log, now: c.Now}
	for _, name := range c.LocalNames {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if ip, err := netip.ParseAddr(name); err == nil && ip.Zone() == "" {
			ca.ips = append(ca.ips, ip.Unmap().AsSlice())
		} else if hostName.MatchString(name) && len(name) < 254 {
			ca.dns = append(ca.dns, name)
		} else {
			return nil, usage("--local-name: not a host name or address: %q", name)
		}
	}
	if len(ca.dns) == 0 {
		return nil, usage("the local CA needs a host name, since there are no passkeys for bare addresses: give --local-name")
	}
	dir, err := state.OpenDir(c.StateDir)
	if err != nil {
		return nil, err
	}
	b, err := dir.Get(secretFile)
	if err != nil {
		return nil, fmt.Errorf("read the local CA: %w", err)
	}
	if b != nil {
		if err := ca.parse(b); err != nil {
			return nil, fmt.Errorf("read the local CA %s/%s: %w (phones trust it: restore it, or delete it and install its successor on them)", dir.Path(), secretFile, err)
		}
		if ca.covers() {
			return ca, nil
		}
		ca.log.Warn("the local CA does not vouch for the hub's names, or expires: phones must install the new one", "names", c.LocalNames)
	}
	if err := ca.create(); err != nil {
		return nil, fmt.Errorf("make the local CA: %w", err)
	}
	return ca, ca.save(dir)
}

func (ca *localCA) host() string { return ca.dns[0] }

// fingerprint is written as phones and browsers show it.
func (ca *localCA) fingerprint() string {
	return fmt.Sprintf("% X", sha256.Sum256(ca.root.Raw))
}

// covers reports whether the root still vouches for all names.
func (ca *localCA) covers() bool {
	for _, name := range ca.dns {
		if !slices.Contains(ca.root.PermittedDNSDomains, name) {
			return false
		}
	}
	for _, ip := range ca.ips {
		if !slices.ContainsFunc(ca.root.PermittedIPRanges, func(n *net.IPNet) bool { return n.Contains(ip) }) {
			return false
		}
	}
	return ca.now().Add(leafLife).Before(ca.root.NotAfter)
}

// create makes a root for the names, and for nothing else.
func (ca *localCA) create() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	public := sha256.Sum256(elliptic.MarshalCompressed(key.Curve, key.X, key.Y))
	template := &x509.Certificate{
		SerialNumber: serial,
		// Two roots of one name must not be taken for each other.
		Subject:   pkix.Name{CommonName: fmt.Sprintf("vmux hub %s (local CA %x)", ca.dns[0], public[:3])},
		NotBefore: ca.now().Add(-skew), NotAfter: ca.now().Add(rootLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: ca.dns,
	}
	for _, ip := range ca.ips {
		bits := 8 * len(ip)
		template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)})
	}
	if len(ca.ips) == 0 { // a kind of name that is not constrained is permitted
		template.ExcludedIPRanges = []*net.IPNet{
			{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	ca.key = key
	ca.root, err = x509.ParseCertificate(der)
	return err
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

// save keeps key and root in one document, so that they never come apart.
func (ca *localCA) save(dir *state.Dir) error {
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return err
	}
	secret := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), ca.rootPEM()...)
	if err := dir.Put(secretFile, secret); err != nil {
		return fmt.Errorf("store the local CA: %w", err)
	}
	if err := dir.Put(rootFile, ca.rootPEM()); err != nil {
		return fmt.Errorf("store the local CA: %w", err)
	}
	return nil
}

func (ca *localCA) rootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.root.Raw})
}

func (ca *localCA) parse(b []byte) error {
	key, rest := pem.Decode(b)
	if key == nil || key.Type != "PRIVATE KEY" {
		return errors.New("no private key")
	}
	root, _ := pem.Decode(rest)
	if root == nil || root.Type != "CERTIFICATE" {
		return errors.New("no certificate")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(key.Bytes)
	if err != nil {
		return errors.New("damaged private key")
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return errors.New("not a P-256 key")
	}
	if ca.root, err = x509.ParseCertificate(root.Bytes); err != nil {
		return errors.New("damaged certificate")
	}
	if !private.PublicKey.Equal(ca.root.PublicKey) {
		return errors.New("the key is another certificate's")
	}
	ca.key = private
	return nil
}

// certificate returns a leaf that is valid by the wall clock, which goes on
// while a laptop sleeps.
func (ca *localCA) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	now := ca.now()
	if ca.leaf != nil && now.Add(leafRenew).Before(ca.leaf.Leaf.NotAfter) && !now.Before(ca.leaf.Leaf.NotBefore) {
		return ca.leaf, nil
	}
	leaf, err := ca.issue(now)
	if err != nil {
		return nil, fmt.Errorf("issue the hub's certificate: %w", err)
	}
	ca.leaf = leaf
	ca.log.Debug("certificate from the local CA", "until", leaf.Leaf.NotAfter)
	return leaf, nil
}

// issue makes a leaf with a key that never leaves memory.
func (ca *localCA) issue(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: ca.dns[0]},
		NotBefore:    now.Add(-skew), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              ca.dns, IPAddresses: ca.ips,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.root, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
