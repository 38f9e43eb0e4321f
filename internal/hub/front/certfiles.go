package front

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// checkEvery is how often the certificate's files are looked at, at most.
const checkEvery = time.Second

// certFiles is a certificate that somebody else keeps current on the disk. It is
// read when a connection comes, so that nobody has to be told. What is in the files
// decides, and not when they were changed: tools keep the time of a file that they
// copy, and a key that the hub may read at last has the time that it had.
type certFiles struct {
	cert, key string
	log       *slog.Logger
	now       func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	tried   [sha256.Size]byte // what was in the files, hashed
	failed  string            // why they could not be used
	checked time.Time
}

func openCertFiles(c Config) (*certFiles, error) {
	f := &certFiles{cert: c.CertFile, key: c.KeyFile, log: c.Log, now: c.Now, checked: c.Now()}
	if err := checkSecret(f.key); err != nil {
		return nil, err
	}
	if err := f.load(); err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	if f.host() == "" && c.PublicURL == "" {
		return nil, usage("the certificate names no host: give --public-url")
	}
	return f, nil
}

// secretError is a key file that others can read.
type secretError struct{ path string }

// Error tells which file.
func (e *secretError) Error() string {
	return "everybody on this machine can read the private key " + e.path
}

// Hint tells what to do about it. In containers files that are handed over are read only, and
// readable by all unless told otherwise.
func (e *secretError) Hint() string {
	return "chmod 600 " + e.path + "; for a secret of Kubernetes defaultMode: 0440, of Docker Compose the mode of the file on the host"
}

// lockedError is a key that is encrypted.
type lockedError struct{ path string }

// Error tells which file.
func (e *lockedError) Error() string { return "the private key " + e.path + " has a passphrase" }

// Hint tells what to do about it.
func (e *lockedError) Hint() string {
	return "openssl pkey -in " + e.path + " -out NEW writes it without, for --tls-key NEW"
}

func checkSecret(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read the private key: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 {
		return &secretError{path}
	}
	return nil
}

// load reads the files, and takes what is in them unless it was tried before. What is no
// file can be read once.
func (f *certFiles) load() error {
	var read [2][]byte
	for i, path := range []string{f.cert, f.key} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if f.current != nil && !info.Mode().IsRegular() {
			return nil
		}
		if read[i], err = os.ReadFile(path); err != nil {
			return err
		}
	}
	tried := sha256.Sum256(slices.Concat(read[0], []byte{0}, read[1])) // PEM has no such byte
	if tried == f.tried {
		return nil
	}
	f.tried = tried
	c, err := tls.X509KeyPair(read[0], read[1])
	if err != nil && bytes.Contains(read[1], []byte("ENCRYPTED")) { // both forms say so in clear; base64 in a row of nine does not
		return &lockedError{f.key}
	}
	if err != nil {
		return err
	}
	f.current = &c
	if f.now().After(c.Leaf.NotAfter) {
		f.log.Warn("the certificate has expired", "file", f.cert, "expired", c.Leaf.NotAfter)
	}
	if lacksIssuer(&c) {
		f.log.Warn("the file has the hub's certificate alone: phones and computers do not know who has issued it", "file", f.cert,
			"issuer", c.Leaf.Issuer.CommonName, "hint", "give --tls-cert the whole chain: certbot's fullchain.pem, not cert.pem")
	}
	return nil
}

// lacksIssuer reports whether the chain breaks off at the hub's own certificate. One that
// names where its issuer's is to be had has an intermediate one, which browsers on Android,
// Firefox and vmux do not fetch; the roots of own CAs sign without that.
func lacksIssuer(c *tls.Certificate) bool {
	return len(c.Certificate) == 1 && len(c.Leaf.IssuingCertificateURL) > 0 && !bytes.Equal(c.Leaf.RawIssuer, c.Leaf.RawSubject)
}

// certificate returns the current one. New files that do not fit together, as in
// the middle of being replaced, leave the old one in place.
func (f *certFiles) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if now.Sub(f.checked).Abs() < checkEvery {
		return f.current, nil
	}
	f.checked = now
	before, failed := f.current, f.failed
	f.failed = ""
	if err := f.load(); err != nil {
		f.failed = err.Error()
		if f.failed != failed {
			f.log.Warn("the new certificate cannot be used; the one before stays", "error", err)
		}
	}
	if f.current != before {
		f.log.Info("new certificate", "until", f.current.Leaf.NotAfter)
	}
	return f.current, nil
}

// host is the first name of the certificate that is one host's, or "".
func (f *certFiles) host() string {
	for _, name := range f.current.Leaf.DNSNames {
		if !strings.HasPrefix(name, "*.") {
			return name
		}
	}
	for _, ip := range f.current.Leaf.IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok {
			return addr.Unmap().String()
		}
	}
	return ""
}
