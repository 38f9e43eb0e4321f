package serveraccess

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshconfig"
	"vmux/internal/wire"
)

// Candidate is an identity that is asked about.
type Candidate struct {
	Name string // its comment
	Line string // of its public key
	// CA: it is a phone's CA, whose session certificates are asked about, for Principals;
	// none: it is not known which.
	CA         bool
	Principals []string
}

// Verdict is whether an identity works on a server.
type Verdict struct {
	Kind  string `json:"kind"` // "key", "passkey", "certificate"
	Name  string `json:"name"`
	Works bool   `json:"works"`
	// Missing is why not: the line that is missing, fit to be shown, and In, the file where,
	// as the server calls it.
	Missing string `json:"missing,omitempty"`
	In      string `json:"in,omitempty"`
	// Trust: `vmux server trust` puts it there.
	Trust bool `json:"trust,omitempty"`
	// Unsure: sshd's configuration was not seen, and its defaults were assumed.
	Unsure bool `json:"unsure,omitempty"`
}

const (
	passkeySignature = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"
	sessionKey       = "ecdsa-sha2-nistp256-cert-v01@openssh.com" // of every session certificate
)

// Judge says whether an identity works on the server, by what it showed.
func (f Facts) Judge(c Candidate) Verdict {
	v := Verdict{Kind: "key", Name: c.Name, Unsure: f.Config == nil}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(c.Line))
	if err != nil {
		v.Missing = "its public key"
		return v
	}
	passkey := isPasskey(key.Type())
	switch {
	case c.CA:
		v.Kind = "certificate"
	case passkey:
		v.Kind = "passkey"
	}
	v.Missing, v.In = f.missing(c, key, passkey)
	v.Works = v.Missing == ""
	v.Trust = v.Missing == KeyLine(c.Line) || strings.HasPrefix(v.Missing, "TrustedUserCAKeys ")
	return v
}

// missing is the first thing that is.
func (f Facts) missing(c Candidate, key ssh.PublicKey, passkey bool) (line, in string) {
	config := func(keyword string) string {
		value := f.Config[strings.ToLower(keyword)]
		if value == "none" {
			return ""
		}
		return value
	}
	if major, _ := f.version(); passkey && major > 0 && !f.AtLeast(8, 4) {
		return "OpenSSH 8.4 or newer, for passkeys", ""
	}
	if config("PubkeyAuthentication") == "no" {
		return "PubkeyAuthentication yes", f.ConfigFile
	}
	if methods := config("AuthenticationMethods"); methods != "" && methods != "any" && !strings.Contains(methods, "publickey") {
		return "AuthenticationMethods publickey", f.ConfigFile
	}
	shortest, _ := strconv.Atoi(config("RequiredRSASize"))
	if bits := sshconfig.RSABits(c.Line); bits > 0 && bits < shortest {
		return fmt.Sprintf("RequiredRSASize %d", bits), f.ConfigFile
	}
	if root := config("PermitRootLogin"); f.Root && (root == "no" || root == "forced-commands-only") {
		return "PermitRootLogin prohibit-password", f.ConfigFile
	}
	if !c.CA {
		if !f.accepts("pubkeyacceptedalgorithms", key.Type()) {
			return "PubkeyAcceptedAlgorithms +" + key.Type(), f.ConfigFile
		}
		return f.missingKey(c, key, passkey)
	}
	if !f.accepts("pubkeyacceptedalgorithms", sessionKey) {
		return "PubkeyAcceptedAlgorithms +" + sessionKey, f.ConfigFile
	}
	signature := key.Type()
	if passkey {
		signature = passkeySignature
	}
	if allowed, seen := f.Config["casignaturealgorithms"]; seen && !listed(allowed, signature) ||
		!seen && passkey && !f.AtLeast(10, 3) {
		return "CASignatureAlgorithms +" + signature, f.ConfigFile
	}
	if file := config("TrustedUserCAKeys"); f.Config != nil && file == "" {
		return "TrustedUserCAKeys " + wire.Show(ownCAFile(f.ConfigFile)), f.ConfigFile
	} else if _, ok := find(f.CAs, key.Marshal()); !ok {
		return strings.TrimSpace(c.Line), file
	}
	if config("AuthorizedPrincipalsFile") == "" && config("AuthorizedPrincipalsCommand") == "" &&
		len(c.Principals) > 0 && !slices.Contains(c.Principals, f.Account) {
		return fmt.Sprintf("%s among the certificate's principals (%s)", wire.Show(f.Account), wire.Show(strings.Join(c.Principals, ", "))), ""
	}
	return "", ""
}

func (f Facts) missingKey(c Candidate, key ssh.PublicKey, passkey bool) (line, in string) {
	if f.KeysFile == "none" {
		return "AuthorizedKeysFile .ssh/authorized_keys", f.ConfigFile
	}
	entry, ok := find(f.Keys, key.Marshal())
	switch {
	case !ok && f.Config["authorizedkeyscommand"] != "" && f.Config["authorizedkeyscommand"] != "none":
		return KeyLine(c.Line), f.KeysFile + ", unless AuthorizedKeysCommand prints it"
	case !ok:
		return KeyLine(c.Line), f.KeysFile
	case entry.hinders() != "":
		return "a line of the key without " + entry.hinders(), f.KeysFile
	case len(f.Loose) > 0 && f.Config["strictmodes"] != "no":
		return "chmod go-w " + word(wire.Show(f.Loose[0])), ""
	}
	return "", ""
}

// accepts reports whether a list of algorithms has one; the server's own word counts
// where its configuration was not seen.
func (f Facts) accepts(keyword, algorithm string) bool {
	if list, seen := f.Config[keyword]; seen {
		return listed(list, algorithm) || algorithm == ssh.KeyAlgoRSA && (listed(list, ssh.KeyAlgoRSASHA256) || listed(list, ssh.KeyAlgoRSASHA512))
	}
	if list, seen := f.Config["pubkeyacceptedkeytypes"]; seen { // before OpenSSH 8.5
		return listed(list, algorithm)
	}
	// Certificates are not in what a server says of itself.
	return len(f.Algorithms) == 0 || strings.Contains(algorithm, "-cert-") || algorithm == ssh.KeyAlgoRSA || slices.Contains(f.Algorithms, algorithm)
}

func listed(list, algorithm string) bool { return slices.Contains(strings.Split(list, ","), algorithm) }

func ownCAFile(config string) string {
	if at := strings.LastIndexByte(config, '/'); at >= 0 {
		return config[:at] + "/vmux_ca.pub"
	}
	return "/etc/ssh/vmux_ca.pub"
}

func isPasskey(kind string) bool { return strings.HasPrefix(kind, "sk-") }

// KeyLine is the line of authorized_keys for a key: with a passkey the server is to
// check that the person was verified.
func KeyLine(public string) string {
	public = strings.TrimSpace(public)
	if kind, _, _ := strings.Cut(public, " "); isPasskey(kind) {
		return "verify-required " + public
	}
	return public
}
