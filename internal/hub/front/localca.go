package front

import (
	"bytes"
	"cmp"
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
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"vmux/internal/hostname"
	"vmux/internal/state"
)

const (
	// rootFile is the root that the hub uses, in PEM, for whoever wants to verify it.
	// secretFile is the first root that there was, with its private key, mode 0600;
	// those of other names are beside it, in secretPrefix + NAME + secretSuffix. None
	// is ever overwritten: phones trust it still when its name comes back.
	rootFile     = "ca/root.pem"
	secretFile   = "ca/root.key"
	secretPrefix = "ca/root-"
	secretSuffix = ".key"

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

// openLocalCA reads the root that vouches for all the names, or makes one: at the
// first start, and for names that none was made for.
func openLocalCA(c Config) (*localCA, error) {
	ca := &localCA{log: c.Log, now: c.Now}
	if err := ca.name(c.LocalNames); err != nil {
		return nil, err
	}
	dir, err := state.OpenDir(c.StateDir)
	if err != nil {
		return nil, err
	}
	roots, damaged, err := storedRoots(dir)
	if err != nil {
		return nil, err
	}
	covers := func(r root) bool { return ca.covers(r) }
	i := slices.IndexFunc(roots, func(r root) bool { return covers(r) && !ca.now().Before(r.certificate.NotBefore) })
	if i < 0 { // this clock may be behind, as before a small computer has asked for the time
		i = slices.IndexFunc(roots, covers)
	}
	switch {
	case i >= 0 && damaged != nil:
		ca.log.Warn("a root of the local CA is damaged: phones that trust that one alone do not believe this hub", "error", damaged)
	case damaged != nil:
		return nil, damaged
	case i < 0 && len(roots) > 0:
		ca.log.Warn("no root of the local CA vouches for the hub's names, or it expires: phones must install a new one; the old ones are kept", "names", c.LocalNames)
	}
	if i >= 0 {
		ca.root, ca.key = roots[i].certificate, roots[i].key
	} else if err := ca.create(); err != nil {
		return nil, fmt.Errorf("make the local CA: %w", err)
	} else if err := ca.keep(dir); err != nil {
		return nil, fmt.Errorf("store the local CA: %w", err)
	}
	if b, err := dir.Get(rootFile); err == nil && bytes.Equal(b, ca.rootPEM()) {
		return ca, nil
	}
	if err := dir.Put(rootFile, ca.rootPEM()); err != nil {
		return nil, fmt.Errorf("store the local CA: %w", err)
	}
	return ca, nil
}

// name says what the hub is called.
func (ca *localCA) name(names []string) error {
	for _, name := range names {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if ip, err := netip.ParseAddr(name); err == nil && ip.Zone() == "" {
			ca.ips = append(ca.ips, ip.Unmap().AsSlice())
		} else if hostname.Valid(name) {
			ca.dns = append(ca.dns, name)
		} else {
			return usage("--local-name: not a host name or address: %q (host names have %s)", name, hostname.Rules)
		}
	}
	if len(ca.dns) == 0 {
		return usage("the local CA needs a host name, since there are no passkeys for bare addresses: give --local-name")
	}
	return nil
}

// root is one that the hub has made.
type root struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// storedRoots returns all roots that can be read: first the one that the hub used last,
// then by their age. What is damaged is told of the first that is.
func storedRoots(dir *state.Dir) (roots []root, damaged, err error) {
	names, err := dir.List(secretPrefix)
	if err != nil {
		return nil, nil, fmt.Errorf("read the local CA: %w", err)
	}
	last, err := dir.Get(rootFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read the local CA: %w", err)
	}
	for _, name := range append([]string{secretFile}, names...) {
		if !strings.HasSuffix(name, secretSuffix) {
			continue
		}
		b, err := dir.Get(name)
		if err != nil {
			return nil, nil, fmt.Errorf("read the local CA: %w", err)
		}
		if b == nil {
			continue
		}
		r, err := parseRoot(b)
		if err != nil {
			damaged = cmp.Or(damaged, fmt.Errorf("read the local CA %s/%s: %w (phones trust it: restore it, or delete it and install its successor on them)", dir.Path(), name, err))
			continue
		}
		roots = append(roots, r)
	}
	slices.SortStableFunc(roots, func(a, b root) int {
		used := func(r root) int {
			if bytes.Equal(last, rootPEM(r.certificate)) {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(used(a), used(b)), a.certificate.NotBefore.Compare(b.certificate.NotBefore))
	})
	return roots, damaged, nil
}

func (ca *localCA) host() string { return ca.dns[0] }

// fingerprint is written as phones and browsers show it.
func (ca *localCA) fingerprint() string {
	return fmt.Sprintf("% X", sha256.Sum256(ca.root.Raw))
}

// covers reports whether a root vouches for all names, and will.
func (ca *localCA) covers(r root) bool {
	for _, name := range ca.dns {
		if !slices.Contains(r.certificate.PermittedDNSDomains, name) {
			return false
		}
	}
	for _, ip := range ca.ips {
		if !slices.ContainsFunc(r.certificate.PermittedIPRanges, func(n *net.IPNet) bool { return n.Contains(ip) }) {
			return false
		}
	}
	return ca.now().Add(leafLife).Before(r.certificate.NotAfter)
}

// create makes a root for the names, and for nothing else.
func (ca *localCA) create() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	public := sha256.Sum256(elliptic.MarshalCompressed(key.Curve, key.X, key.Y))
	template := &x509.Certificate{
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

// keep stores key and root in one document of their own, so that they never come
// apart. The hub alone writes to its folder.
func (ca *localCA) keep(dir *state.Dir) error {
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return err
	}
	name := secretFile
	for n := 1; ; n++ {
		b, err := dir.Get(name)
		if err != nil {
			return err
		}
		if b == nil {
			break
		}
		name = secretPrefix + ca.dns[0] + secretSuffix
		if n > 1 { // it expires, or has other addresses
			name = fmt.Sprintf("%s%s-%d%s", secretPrefix, ca.dns[0], n, secretSuffix)
		}
	}
	return dir.Put(name, append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), ca.rootPEM()...))
}

func (ca *localCA) rootPEM() []byte { return rootPEM(ca.root) }

func rootPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func parseRoot(b []byte) (root, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" {
		return root{}, errors.New("no private key")
	}
	certificate, _ := pem.Decode(rest)
	if certificate == nil || certificate.Type != "CERTIFICATE" {
		return root{}, errors.New("no certificate")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return root{}, errors.New("damaged private key")
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return root{}, errors.New("not a P-256 key")
	}
	c, err := x509.ParseCertificate(certificate.Bytes)
	if err != nil {
		return root{}, errors.New("damaged certificate")
	}
	if !private.PublicKey.Equal(c.PublicKey) {
		return root{}, errors.New("the key is another certificate's")
	}
	return root{c, private}, nil
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
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: ca.dns[0]},
		NotBefore: now.Add(-skew), NotAfter: now.Add(leafLife),
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
