package agent

import (
	"fmt"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshctx"
)

// checkSignature verifies an SSH signature blob over data, all of it, and that
// an RSA signature uses the hash that the client's flags ask for.
func checkSignature(key ssh.PublicKey, data, blob []byte, flags uint32) error {
	var sig ssh.Signature
	if err := ssh.Unmarshal(blob, &sig); err != nil {
		return fmt.Errorf("%w: malformed", sshctx.ErrSignature)
	}
	if wanted := sshctx.RSAAlgorithm(flags); key.Type() == ssh.KeyAlgoRSA && wanted != "" && sig.Format != wanted {
		return fmt.Errorf("%w: format %s was not asked for", sshctx.ErrSignature, sig.Format)
	}
	return sshctx.VerifySignature(key, data, &sig)
}
