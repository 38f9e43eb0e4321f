package sshconfig

import (
	"crypto/rsa"
	"strings"

	"golang.org/x/crypto/ssh"
)

// OneCommand are ssh's options for one command on a server, without what a person has
// configured for sessions of their own there: with a RemoteCommand ssh refuses any other
// command, ExitOnForwardFailure ends a login whose tunnel is open already, and a
// LocalCommand writes between the answers.
var OneCommand = []string{
	"-T", "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes", "-o", "ForwardAgent=no",
	"-o", "PermitLocalCommand=no", "-o", "ControlPath=none",
}

// Sessions are options that undo what a configuration, as `ssh -G` prints it, says of sessions
// with a host that is there for its tunnels: SessionType none runs no command, StdinNull gives
// it no input, and ForkAfterAuthentication leaves ssh behind. An ssh before OpenSSH 8.7 knows
// none of these words, and prints none.
func Sessions(printed string) (options []string) {
	for line := range strings.Lines(printed) {
		switch strings.TrimSpace(line) {
		case "sessiontype none", "sessiontype subsystem":
			options = append(options, "-o", "SessionType=default")
		case "stdinnull yes":
			options = append(options, "-o", "StdinNull=no")
		case "forkafterauthentication yes":
			options = append(options, "-o", "ForkAfterAuthentication=no")
		}
	}
	return options
}

// RSABits is the length of an RSA key, in a line as ssh-add -L prints it, which ssh and sshd may
// want to be longer (RequiredRSASize); 0 for other keys.
func RSABits(line string) int {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if crypto, ok := key.(ssh.CryptoPublicKey); ok && err == nil {
		if key, ok := crypto.CryptoPublicKey().(*rsa.PublicKey); ok {
			return key.N.BitLen()
		}
	}
	return 0
}
