package client

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshconfig"
	"vmux/internal/wire"
)

const (
	// maxKnownHosts bounds what is read of one known_hosts file, in bytes.
	maxKnownHosts = 4 << 20
	// hashMagic begins a hashed host name: |1|salt|hash| (sshd(8), section
	// SSH_KNOWN_HOSTS FILE FORMAT).
	hashMagic = "|1|"
)

// KnownHostsFiles are those that ssh reads by default (ssh_config(5),
// UserKnownHostsFile and GlobalKnownHostsFile).
func KnownHostsFiles() []string {
	files := []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
	if home, err := os.UserHomeDir(); err == nil {
		files = append([]string{filepath.Join(home, ".ssh", "known_hosts"), filepath.Join(home, ".ssh", "known_hosts2")}, files...)
	}
	return files
}

// Server returns what a login calls its server: the name by which known_hosts has
// the host key, or what was typed where no file has it, as with KnownHostsCommand.
func (f *Files) Server(l Login, hostKey []byte) string {
	typed := wire.Show(l.Typed)
	return begin(f, typed, func() string {
		return cmp.Or(hostName(slices.Concat(l.KnownHosts, f.KnownHosts), hostKey, l.Names), typed)
	}).Wait()
}

// hostName returns the name by which known_hosts knows the host key: one of
// the candidates, if any fits, since a host has many names and this is the one
// the person typed. Names that are hashed are found among the candidates only.
// It is a claim: whoever controls this computer controls these files.
func hostName(files []string, hostKey []byte, candidates []string) string {
	fallback, wanted := "", wantedHost(hostKey)
	for i, file := range files {
		if slices.Contains(files[:i], file) {
			continue
		}
		chosen, other := nameInFile(file, wanted, candidates)
		if chosen != "" {
			return wire.Show(chosen)
		}
		if fallback == "" {
			fallback = other
		}
	}
	return wire.Show(fallback)
}

// host is what is looked for in known_hosts: a host key, or the key that a host
// certificate is over, or the CA that vouches for the certificate's names.
type host struct {
	key, ca string // blobs as they stand in a line; no ca unless there is a certificate
	names   []string
}

func wantedHost(blob []byte) host {
	text := base64.StdEncoding.EncodeToString
	key, err := ssh.ParsePublicKey(blob)
	if cert, ok := key.(*ssh.Certificate); err == nil && ok {
		return host{text(cert.Key.Marshal()), text(cert.SignatureKey.Marshal()), cert.ValidPrincipals}
	}
	return host{key: text(blob)}
}

// named are the names that a line of known_hosts gives the host (sshd(8),
// SSH_KNOWN_HOSTS FILE FORMAT). The key's text is compared and not parsed: its type
// may be newer than this program.
func (h host) named(line []byte) []string {
	if !bytes.Contains(line, []byte(h.key)) && (h.ca == "" || !bytes.Contains(line, []byte(h.ca))) {
		return nil // nearly all
	}
	fields, key := strings.Fields(string(line)), h.key
	certified := len(fields) > 0 && fields[0] == "@cert-authority"
	if certified {
		fields, key = fields[1:], h.ca
	}
	if len(fields) < 3 || key == "" || strings.HasPrefix(fields[0], "#") || strings.HasPrefix(fields[0], "@") || fields[2] != key {
		return nil
	}
	if certified {
		return h.names
	}
	return strings.Split(fields[0], ",")
}

// nameInFile returns the candidate by which the file knows the host, the first of
// them, and the first readable name.
func nameInFile(file string, wanted host, candidates []string) (chosen, other string) {
	text, err := sshconfig.ReadFile(file, maxKnownHosts)
	if err != nil {
		return "", ""
	}
	best := len(candidates)
	for line := range bytes.Lines(text) {
		names := wanted.named(line)
		for i, c := range candidates[:best] {
			if isNamed(names, c) {
				best = i
				break
			}
		}
		for _, name := range names {
			if other == "" && !strings.HasPrefix(name, hashMagic) && !strings.ContainsAny(name, "*?!") {
				other = name
			}
		}
	}
	if best < len(candidates) {
		chosen = candidates[best]
	}
	return chosen, other
}

// isNamed reports whether the host patterns of a line are of the name.
func isNamed(patterns []string, name string) bool {
	found := false
	for _, p := range patterns {
		p, not := strings.CutPrefix(p, "!")
		if !hashes(p, name) && !sshconfig.Pattern(strings.ToLower(p), strings.ToLower(name)) {
			continue
		}
		if not {
			return false
		}
		found = true
	}
	return found
}

// hashes reports whether the hashed entry is of the name: HMAC-SHA1 under the
// salt, both in base64.
func hashes(pattern, name string) bool {
	entry, ok := strings.CutPrefix(pattern, hashMagic)
	if !ok {
		return false
	}
	salt64, sum64, ok := strings.Cut(entry, "|")
	salt, err := base64.StdEncoding.DecodeString(salt64)
	sum, err2 := base64.StdEncoding.DecodeString(sum64)
	if !ok || err != nil || err2 != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(name))
	return hmac.Equal(mac.Sum(nil), sum)
}
