package sshconfig

import (
	"os"
	"path/filepath"
	"strings"
)

// takesValue are ssh's options that a value follows (ssh(1)).
const takesValue = "BbcDEeFIiJLlmOoPpQRSWw"

// arguments reads ssh's options up to the command, as getopt(3) does: ssh takes
// some before the destination and some behind it.
func (r *reader) arguments(words []string) {
	for i := 1; i < len(words); {
		for ; i < len(words) && len(words[i]) > 1 && words[i][0] == '-'; i++ {
			if words[i] == "--" {
				i++
				break
			}
			at := strings.IndexAny(words[i], takesValue)
			if at < 0 {
				continue
			}
			letter, value := words[i][at], words[i][at+1:]
			if value == "" && i+1 < len(words) {
				i++
				value = words[i]
			}
			r.argument(letter, value)
		}
		if i >= len(words) || r.typed != "" {
			return // what follows is for the other side
		}
		r.destination(words[i])
		i++
	}
}

func (r *reader) argument(letter byte, value string) {
	switch letter {
	case 'i':
		// ssh leaves out a file that is not there, and takes the usual ones then.
		// Its public half may stand there all the same: it is what the user means.
		applies := yes
		if path, ok := r.path(value); ok && !strings.EqualFold(value, "none") {
			if _, err := os.Stat(path); err != nil {
				applies = maybe
			}
		}
		r.directive("identityfile", []string{value}, applies)
	case 'l':
		r.set("user", []string{value}, yes)
	case 'P':
		r.set("tag", []string{value}, yes)
	case 'p':
		r.setTypedPort(value)
	case 'F':
		r.files = nil
		if strings.EqualFold(value, "none") {
			return
		}
		path, ok := r.absolute(r.tilde(value))
		if !ok {
			r.unclear = true
			return
		}
		r.files = []configFile{{path, filepath.Join(r.Home, ".ssh")}}
	case 'o':
		if keyword, args := parseLine(value); keyword != "" {
			if keyword == "port" && len(args) > 0 {
				r.setTypedPort(args[0])
			}
			r.directive(keyword, args, yes)
		}
	}
}

func (r *reader) setTypedPort(port string) {
	if r.typedPort == "" {
		r.typedPort = portOf(port)
	}
	r.set("port", []string{port}, yes)
}

// destination is `[user@]host` or `ssh://[user@]host[:port]`.
func (r *reader) destination(word string) {
	uri, isURI := strings.CutPrefix(word, "ssh://")
	if isURI {
		word, _, _ = strings.Cut(uri, "/")
	}
	if at := strings.LastIndexByte(word, '@'); at >= 0 {
		user, _, _ := strings.Cut(word[:at], ";") // connection parameters (draft-ietf-secsh-scp-sftp-ssh-uri)
		r.set("user", []string{user}, yes)
		word = word[at+1:]
	}
	if isURI {
		if end := strings.IndexByte(word, ']'); strings.HasPrefix(word, "[") && end > 0 {
			if port, ok := strings.CutPrefix(word[end+1:], ":"); ok {
				r.setTypedPort(port)
			}
			word = word[1:end]
		} else if host, port, ok := strings.Cut(word, ":"); ok {
			word = host
			r.setTypedPort(port)
		}
	}
	r.typed = word
}
