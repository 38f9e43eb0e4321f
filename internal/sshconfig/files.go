package sshconfig

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// maxPublicSize bounds what is read of a public key, in bytes.
const maxPublicSize = 64 << 10

// defaultIdentities are what ssh tries where no IdentityFile is given.
var defaultIdentities = []string{"id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"}

var errNotRegular = errors.New("not a regular file")

// ReadFile reads the beginning of a regular file, limit bytes at most. A FIFO would
// make the reader wait for ever, and a device has no end.
func ReadFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// keys reads the public halves of the keys that are named.
func (r *reader) keys() (blobs map[string]bool, unclear, unnamed bool) {
	blobs, unclear, unnamed = map[string]bool{}, r.unclear, r.unclear
	identities := r.identities
	if !r.anyNamed && r.Home != "" {
		for _, name := range defaultIdentities {
			identities = append(identities, filepath.Join(r.Home, ".ssh", name))
		}
	}
	for _, file := range identities {
		if file == "" || strings.EqualFold(file, "none") {
			continue
		}
		clear, known := false, false
		if path, ok := r.path(file); ok {
			clear, known = publicKeys(path, blobs)
		}
		unclear, unnamed = unclear || !clear, unnamed || !known
	}
	return blobs, unclear, unnamed
}

// publicKeys adds what stands at the path or beside it: a certificate is signed for
// by the key that it is over. It reports whether that is all that ssh may find, and
// whether what may be missing is no more than the public half of a key in a file.
func publicKeys(path string, blobs map[string]bool) (clear, known bool) {
	found, all, known := false, true, true
	for _, suffix := range []string{"", ".pub", "-cert.pub"} {
		text, err := ReadFile(path+suffix, maxPublicSize)
		if err != nil {
			all, known = all && isMissing(err), known && isMissing(err)
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey(text)
		if err != nil {
			all = false // a private key: its public half may stand beside it
			continue
		}
		found = true
		blobs[string(key.Marshal())] = true
		if cert, ok := key.(*ssh.Certificate); ok {
			blobs[string(cert.Key.Marshal())] = true
		}
	}
	return found || all, found || known
}

// path is the file that a setting names, if that can be told.
func (r *reader) path(name string) (string, bool) {
	name, ok := r.expand(r.tilde(name))
	if !ok {
		return "", false
	}
	return r.absolute(name)
}

func (r *reader) absolute(path string) (string, bool) {
	if filepath.IsAbs(path) {
		return path, true
	}
	return filepath.Join(r.Dir, path), r.Dir != ""
}

// tilde puts a home folder for `~` and `~user`.
func (r *reader) tilde(path string) string {
	if !strings.HasPrefix(path, "~") {
		return path
	}
	name, rest, _ := strings.Cut(path[1:], "/")
	if name == "" {
		return filepath.Join(r.Home, rest)
	}
	if u, err := user.Lookup(name); err == nil {
		return filepath.Join(u.HomeDir, rest)
	}
	return path
}

// Expand is a path of ssh's configuration as ssh takes it, for the host of the client's
// arguments, of which config is what `ssh -G` prints. It is false where only ssh can tell.
func Expand(path string, c Client, config map[string][]string) (string, bool) {
	r := &reader{Client: c, single: map[string]*option{}}
	r.arguments(c.Args)
	for _, keyword := range []string{"hostname", "port", "user", "hostkeyalias"} {
		r.set(keyword, config[keyword], yes)
	}
	return r.expand(r.tilde(path))
}

// expand puts the environment's values for ${NAME} and ssh's for its tokens
// (ssh_config(5), TOKENS and ENVIRONMENT VARIABLES). It is false where only ssh
// can.
func (r *reader) expand(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "${"):
			name, _, closed := strings.Cut(s[i+2:], "}")
			value, ok := r.variable(name)
			if !closed || !ok {
				return "", false
			}
			b.WriteString(value)
			i += 2 + len(name)
		case s[i] == '%' && i+1 < len(s):
			i++
			value, ok := r.token(s[i])
			if !ok {
				return "", false
			}
			b.WriteString(value)
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), true
}

func (r *reader) variable(name string) (string, bool) {
	for _, v := range r.Env {
		if n, value, ok := strings.Cut(v, "="); ok && n == name {
			return value, true
		}
	}
	return "", false
}

func (r *reader) token(letter byte) (string, bool) {
	only := func(list []string) (string, bool) {
		if len(list) != 1 {
			return "", false
		}
		return list[0], true
	}
	switch letter {
	case '%':
		return "%", true
	case 'd':
		return r.Home, r.Home != ""
	case 'h':
		return only(r.hostNames())
	case 'i':
		return r.UID, r.UID != ""
	case 'k':
		return only(r.possible("hostkeyalias", r.typed))
	case 'l', 'L':
		name, err := os.Hostname()
		if letter == 'L' {
			name, _, _ = strings.Cut(name, ".")
		}
		return name, err == nil
	case 'n':
		return r.typed, r.typed != ""
	case 'p':
		return only(r.possible("port", defaultPort))
	case 'r':
		return only(r.possible("user", r.User))
	case 'u':
		return r.User, r.User != ""
	}
	return "", false
}
