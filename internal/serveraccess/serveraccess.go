// Package serveraccess tells servers of keys and CAs, takes that back, and looks at what
// a server accepts, all over the person's own ssh program: it is no SSH client, and so
// everything that stands in ssh's configuration holds. Nothing stays on a server that a
// new login has not shown to work, and the server itself takes back what nobody keeps
// (remote.sh). It asks no phone and knows no agent but by its socket.
package serveraccess

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Facts are what a server showed.
type Facts struct {
	Software   string   // as it says itself at the beginning of a connection
	Algorithms []string // signature algorithms that it says it takes
	HostKey    string   // fingerprint

	System  string // as uname says
	Account string
	Root    bool // the account is root

	ConfigFile  string
	Config      map[string]string // what sshd -T says for this login, by keyword; nil: not seen
	SeenAsRoot  bool              // or else as far as the account may read
	ConfigError string            // what sshd has against its configuration
	KeysFile    string            // "none": sshd reads no such file
	Loose       []string          // files and folders on the way there that others may write to
	Keys        []Entry           // of KeysFile
	CAs         []Entry           // of TrustedUserCAKeys
}

// Entry is a line with a public key.
type Entry struct {
	Blob    []byte
	Options []string // of authorized_keys
}

// find returns the entry with a key; of several, one that lets it in if there is one.
func find(list []Entry, blob []byte) (found Entry, ok bool) {
	for _, e := range list {
		if bytes.Equal(e.Blob, blob) && (!ok || found.hinders() != "") {
			found, ok = e, true
		}
	}
	return found, ok
}

// hinders is the option by which the line lets in nobody with its key, whoever and wherever they
// are: it is a CA's, or has expired by the clock here (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
func (e Entry) hinders() string {
	for _, option := range e.Options {
		name, value, _ := strings.Cut(option, "=")
		switch strings.ToLower(name) {
		case "cert-authority":
			return "cert-authority"
		case "expiry-time":
			digits := strings.TrimSuffix(strings.Trim(value, `"`), "Z") // else it is of the server's time zone
			if end, err := time.Parse("20060102150405"[:min(len(digits), 14)], digits); err == nil && time.Since(end) > 24*time.Hour {
				return "expiry-time"
			}
		}
	}
	return ""
}

// version is OpenSSH's number in Software; zero for other programs.
func (f Facts) version() (major, minor int) {
	_, text, _ := strings.Cut(f.Software, "OpenSSH_")
	_, _ = fmt.Sscanf(text, "%d.%d", &major, &minor)
	return major, minor
}

// AtLeast reports whether it is that version of OpenSSH, or a newer one.
func (f Facts) AtLeast(major, minor int) bool {
	a, b := f.version()
	return a > major || a == major && b >= minor
}

// Windows reports whether it is OpenSSH for Windows, which has neither sh nor these files.
func (f Facts) Windows() bool { return strings.Contains(f.Software, "for_Windows") }

// read reads the answer of remote.sh's look.
func (f *Facts) read(lines []string) {
	for _, line := range lines {
		name, value, _ := strings.Cut(line, " ")
		switch name {
		case "system":
			f.System = value
		case "account":
			f.Account = value
		case "uid":
			f.Root = value == "0"
		case "config":
			f.ConfigFile = value
		case "seen":
			f.SeenAsRoot = value == "root"
			if f.Config == nil {
				f.Config = map[string]string{}
			}
		case "sshd":
			if keyword, setting, ok := strings.Cut(value, " "); ok && f.Config != nil {
				if _, before := f.Config[keyword]; !before { // as of authorizedkeysfile, in one line
					f.Config[keyword] = setting
				}
			}
		case "error":
			f.ConfigError = strings.TrimSpace(f.ConfigError + " " + value)
		case "keysfile":
			f.KeysFile = value
		case "loose":
			f.Loose = append(f.Loose, value)
		case "grouped": // a group may write, and nobody else is in it (Debian's user-group-modes.patch, seen in 9.2)
			if f.AtLeast(10, 0) || !slices.ContainsFunc([]string{"Debian", "Ubuntu", "Raspbian"}, func(of string) bool { return strings.Contains(f.Software, of) }) {
				f.Loose = append(f.Loose, value)
			}
		case "key":
			f.Keys = appendEntry(f.Keys, value)
		case "ca":
			f.CAs = appendEntry(f.CAs, value)
		}
	}
	if f.Config != nil {
		f.ConfigError = "" // warnings
	}
}

func appendEntry(list []Entry, line string) []Entry {
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return list
	}
	return append(list, Entry{key.Marshal(), options})
}
