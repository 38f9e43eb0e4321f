package certificate

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// skewAllowed bounds how far a certificate may outlast what was asked for: the
// phone's clock may be ahead.
const skewAllowed = 10 * time.Minute

// criticalOptions are those of PROTOCOL.certkeys: of another the agent cannot
// know what it promises.
var criticalOptions = map[string]bool{"force-command": true, "source-address": true, "verify-required": true}

// verify checks a certificate that a phone has sent: of which key,
// by which CA, and how long it holds. Whether that CA is the phone's is asked
// elsewhere.
func verify(r *wire.CertificateResponse, own ssh.PublicKey, asked time.Duration, now time.Time) (*ssh.Certificate, error) {
	cert, err := sshctx.ParseCertificate(r.CertificateBlob)
	if err != nil {
		return nil, err
	}
	_, nested := cert.SignatureKey.(*ssh.Certificate)
	switch {
	case cert.CertType != ssh.UserCert:
		return nil, errors.New("not a user certificate")
	case !bytes.Equal(cert.Key.Marshal(), own.Marshal()):
		return nil, errors.New("certificate of another key")
	case nested || !bytes.Equal(cert.SignatureKey.Marshal(), r.CAPublicKey):
		return nil, errors.New("certificate of another CA than it names")
	case cert.ValidAfter != r.ValidAfter || cert.ValidBefore != r.ValidBefore:
		return nil, errors.New("certificate of another validity than the answer says")
	case len(cert.ValidPrincipals) == 0:
		return nil, errors.New("certificate without principals")
	}
	if err := checkValidity(cert, asked, now); err != nil {
		return nil, err
	}
	for name := range cert.CriticalOptions {
		if !criticalOptions[name] {
			return nil, errors.New("certificate with an unknown critical option")
		}
	}
	if err := sshctx.VerifyCertificate(cert); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return cert, nil
}

func checkValidity(cert *ssh.Certificate, asked time.Duration, now time.Time) error {
	unix := uint64(now.Unix())
	switch {
	case cert.ValidAfter >= cert.ValidBefore || cert.ValidBefore <= unix:
		return errors.New("certificate has expired")
	case cert.ValidAfter > unix:
		return errors.New("certificate is not valid yet: the clocks differ")
	case cert.ValidBefore > uint64(now.Add(asked+skewAllowed).Unix()):
		return errors.New("certificate is valid for longer than was asked for")
	}
	return nil
}
