package agent

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"vmux/internal/wire"
)

const (
	// maxKnownHosts bounds what is read of one known_hosts file, in bytes.
	maxKnownHosts = 4 << 20
	// hashMagic begins a hashed host name: |1|salt|hash| (sshd(8), section
	// SSH_KNOWN_HOSTS FILE FORMAT).
	hashMagic = "|1|"
)

// knownHostsFiles are those that ssh reads by default (ssh_config(5),
// UserKnownHostsFile and GlobalKnownHostsFile).
func knownHostsFiles() []string {
	files := []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
	if home, err := os.UserHomeDir(); err == nil {
		files = append([]string{filepath.Join(home, ".ssh", "known_hosts"), filepath.Join(home, ".ssh", "known_hosts2")}, files...)
	}
	return files
}

// hostNameOf returns the name by which known_hosts knows the host key: one of
// the candidates, if any fits, since a host has many names and this is the one
// the person typed. Names that are hashed are found among the candidates only.
// It is a claim: whoever controls this computer controls these files.
func hostNameOf(files []string, hostKey []byte, candidates []string) string {
	fallback, wanted := "", wantedHost(hostKey)
	for _, file := range files {
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
	key, ca []byte // blobs; no ca unless there is a certificate
	names   []string
}

func wantedHost(blob []byte) host {
	key, err := ssh.ParsePublicKey(blob)
	if cert, ok := key.(*ssh.Certificate); err == nil && ok {
		return host{cert.Key.Marshal(), cert.SignatureKey.Marshal(), cert.ValidPrincipals}
	}
	return host{key: blob}
}

// named are the names that a line of known_hosts gives the host.
func (h host) named(marker string, patterns []string, key ssh.PublicKey) []string {
	switch blob := key.Marshal(); {
	case marker == "" && bytes.Equal(blob, h.key):
		return patterns
	case marker == "cert-authority" && bytes.Equal(blob, h.ca):
		return h.names
	}
	return nil
}

// nameInFile returns the candidate by which the file knows the host, and the
// first readable name.
func nameInFile(file string, wanted host, candidates []string) (chosen, other string) {
	rest := readSome(file, maxKnownHosts)
	for len(rest) > 0 {
		line := rest
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			line, rest = rest[:end], rest[end+1:]
		} else {
			rest = nil
		}
		marker, hosts, key, _, _, err := ssh.ParseKnownHosts(line)
		if err != nil {
			continue // a line that cannot be read must not hide those behind it
		}
		for _, pattern := range wanted.named(marker, hosts, key) {
			for _, c := range candidates {
				if pattern == c || hashes(pattern, c) {
					return c, other
				}
			}
			if other == "" && !strings.HasPrefix(pattern, hashMagic) && !strings.ContainsAny(pattern, "*?!") {
				other = pattern
			}
		}
	}
	return "", other
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

// hostCandidates are the words of an SSH client's command line that may be the
// destination: each as it stands and, where a port is named, as known_hosts
// writes both (`[host]:port`). Which word is which depends on the client's
// options; a word that is no host fits no entry.
func hostCandidates(args []string) []string {
	var hosts, ports []string
	for i, word := range args {
		if i == 0 || word == "" || len(word) > wire.MaxNameSize {
			continue
		}
		if port, ok := portOf(word, args[i-1]); ok {
			ports = append(ports, port)
			continue
		}
		if host := hostOf(word); host != "" {
			hosts = append(hosts, host)
		}
	}
	var list []string
	for _, host := range hosts {
		for _, port := range ports {
			list = append(list, "["+host+"]:"+port)
		}
		list = append(list, host)
	}
	return slices.Compact(list)
}

// portOf recognises `-p 22`, `-p22` and `-o Port=22`.
func portOf(word, before string) (string, bool) {
	lower := strings.ToLower(word)
	switch {
	case (before == "-p" || before == "-P") && isPort(word):
		return word, true
	case strings.HasPrefix(lower, "-p") && isPort(word[2:]):
		return word[2:], true
	case strings.HasPrefix(lower, "port=") && isPort(word[5:]):
		return word[5:], true
	case strings.HasPrefix(lower, "-oport=") && isPort(word[7:]):
		return word[7:], true
	}
	return "", false
}

func isPort(s string) bool {
	return s != "" && len(s) <= 5 && strings.Trim(s, "0123456789") == ""
}

// hostOf strips what stands around a host: `user@host`, `ssh://user@host:port`,
// `HostKeyAlias=host`, `HostName=host`.
func hostOf(word string) string {
	if _, uri, ok := strings.Cut(word, "://"); ok {
		word, _, _ = strings.Cut(uri, "/")
		if host, port, ok := strings.Cut(word, ":"); ok && isPort(port) {
			word = host
		}
	}
	if i := strings.LastIndexByte(word, '@'); i >= 0 {
		word = word[i+1:]
	}
	for _, option := range []string{"hostname=", "hostkeyalias=", "-ohostname=", "-ohostkeyalias="} {
		if len(word) > len(option) && strings.EqualFold(word[:len(option)], option) {
			word = word[len(option):]
		}
	}
	if strings.HasPrefix(word, "-") || strings.ContainsAny(word, " /=\t") {
		return ""
	}
	return strings.ToLower(word)
}
