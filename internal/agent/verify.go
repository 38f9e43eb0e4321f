package agent

import (
	"fmt"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshctx"
)

// Signature flags of the agent protocol (RFC 9987 section 6.3).
const (
	flagRSASHA256 = 2
	flagRSASHA512 = 4
)

// checkSignature verifies an SSH signature blob over data, all of it, and that
// an RSA signature uses the hash that the client's flags ask for.
func checkSignature(key ssh.PublicKey, data, blob []byte, flags uint32) error {
	var sig ssh.Signature
	if err := ssh.Unmarshal(blob, &sig); err != nil {
		return fmt.Errorf("%w: malformed", sshctx.ErrSignature)
	}
	if key.Type() == ssh.KeyAlgoRSA && !rsaFormatFits(sig.Format, flags) {
		return fmt.Errorf("%w: format %s was not asked for", sshctx.ErrSignature, sig.Format)
	}
	return sshctx.VerifySignature(key, data, &sig)
}

func rsaFormatFits(format string, flags uint32) bool {
	switch {
	case flags&flagRSASHA256 != 0: // with both, as ssh-agent does
		return format == ssh.KeyAlgoRSASHA256
	case flags&flagRSASHA512 != 0:
		return format == ssh.KeyAlgoRSASHA512
	}
	return true
}
