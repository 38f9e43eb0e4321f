package upstream

import (
	"crypto/rsa"
	"slices"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// Message numbers of RFC 9987 section 6.1.
const (
	msgFailure           = 5
	msgRequestIdentities = 11
	msgExtensionFailure  = 28
	msgExtensionResponse = 29
)

type signRequest struct {
	Blob, Data []byte `sshtype:"13"`
	Flags      uint32
}

type signResponse struct {
	Signature []byte `sshtype:"14"`
}

type extension struct {
	Name     string `sshtype:"27"`
	Contents []byte `ssh:"rest"`
}

type identitiesAnswer struct {
	Count uint32 `sshtype:"12"`
	Keys  []byte `ssh:"rest"`
}

type identity struct {
	Blob    []byte
	Comment string
	Rest    []byte `ssh:"rest"`
}

// Refused reports whether an answer is a refusal.
func Refused(answer []byte) bool {
	return answer[0] == msgFailure || answer[0] == msgExtensionFailure
}

const (
	// maxKeys is how many keys are taken of a list, of maxBlob bytes each at most. ssh
	// takes a list of 2,048 and of 256 KiB, and refuses a longer one as a whole.
	maxKeys = 256
	maxBlob = 16 << 10
	// minRSA is what OpenSSH takes. It refuses a list with a shorter key as a whole.
	minRSA = 1024
)

// parseList reads a list of identities. A key of a type that this program does not know is
// taken as it is; one that is malformed is left out, since ssh refuses the whole list for it,
// the phone-held keys with it.
func parseList(answer []byte) ([]sshagent.Identity, error) {
	if Refused(answer) {
		return nil, ErrRefused
	}
	var all identitiesAnswer
	if ssh.Unmarshal(answer, &all) != nil {
		return nil, ErrGarbage
	}
	var list []sshagent.Identity
	rest := all.Keys
	for range all.Count {
		var key identity
		if ssh.Unmarshal(rest, &key) != nil {
			return nil, ErrGarbage
		}
		rest = key.Rest
		if len(list) < maxKeys && listable(key.Blob) {
			list = append(list, sshagent.Identity{Blob: slices.Clone(key.Blob), Comment: wire.Show(key.Comment), Passed: true})
		}
	}
	if len(rest) != 0 {
		return nil, ErrGarbage
	}
	return list, nil
}

func listable(blob []byte) bool {
	name := sshctx.KeyType(blob)
	if name == "" || len(blob) > maxBlob {
		return false
	}
	key, err := ssh.ParsePublicKey(blob)
	if sshctx.IsCertificate(blob) { // of which ssh verifies the signature
		cert, err := sshctx.ParseCertificate(blob)
		if err != nil || sshctx.VerifyCertificate(cert) != nil {
			return false
		}
		key = cert.Key
	} else if err != nil {
		return !slices.Contains(readable, name)
	}
	if crypto, ok := key.(ssh.CryptoPublicKey); ok {
		if public, ok := crypto.CryptoPublicKey().(*rsa.PublicKey); ok {
			return public.N.BitLen() >= minRSA
		}
	}
	return true
}

// readable are the types of keys of which x/crypto reads each key that is well-formed.
var readable = []string{
	ssh.KeyAlgoRSA, "ssh-dss", ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
	ssh.KeyAlgoED25519, ssh.KeyAlgoSKECDSA256, ssh.KeyAlgoSKED25519,
}

func parseSignature(answer []byte) ([]byte, error) {
	if Refused(answer) {
		return nil, ErrRefused
	}
	var signed signResponse
	if ssh.Unmarshal(answer, &signed) != nil {
		return nil, ErrGarbage
	}
	return signed.Signature, nil
}
