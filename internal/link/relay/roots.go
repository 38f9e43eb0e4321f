package relay

import (
	"crypto/x509"
	"errors"
	"fmt"
)

// Roots returns whom to believe that a hub is the one named: the system's CAs,
// and those in PEM, of a hub at home for example. Nothing in PEM is an error;
// an empty one returns nil, which means the system's alone.
func Roots(pem []byte) (*x509.CertPool, error) {
	if len(pem) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's CAs: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in PEM")
	}
	return pool, nil
}
