package agent

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

const (
	// maxConfigs bounds how many files of ssh's configuration are read, and
	// maxConfigSize and maxPublicSize what of each and of a public key, in bytes.
	maxConfigs    = 32
	maxConfigSize = 256 << 10
	maxPublicSize = 16 << 10
)

// choice is which keys the user has named for a login, by -i or IdentityFile:
// ssh takes them from the agent only if they are listed. It is read from the
// client's command line and from ssh's configuration, roughly: what it finds too
// much stands further up in a list, and no more.
type choice struct {
	blobs map[string]bool
	// unclear: keys are named in a way that only ssh can make out.
	unclear bool
}

func (c choice) has(id *identity) bool { return c.blobs[string(id.PublicKeyBlob)] }

// chosenBy reads the choice of a client that runs on this computer.
func (a *Agent) chosenBy(pid int) choice {
	words := strings.Split(string(argumentsOf(pid)), "\x00")
	home, err := os.UserHomeDir()
	if err != nil {
		return choice{}
	}
	r := choiceReader{home: home, hosts: hostCandidates(words), left: maxConfigs}
	r.arguments(words)
	return r.choice
}

// choiceReader follows a command line and the files that it leads to.
type choiceReader struct {
	home   string
	hosts  []string
	left   int // files that may still be read
	choice choice
}

// takesValue are ssh's options that a value follows (ssh(1)).
const takesValue = "BbcDEeFIiJLlmOoPpQRSWw"

// arguments reads ssh's options up to the command, and then the configuration.
func (r *choiceReader) arguments(words []string) {
	configs := []string{filepath.Join(r.home, ".ssh", "config"), "/etc/ssh/ssh_config"}
	destination := false
	for i := 1; i < len(words); i++ {
		word := words[i]
		if !strings.HasPrefix(word, "-") {
			if destination {
				break // what follows is for the other side
			}
			destination = true
			continue
		}
		at := strings.IndexAny(word, takesValue)
		if at < 0 {
			continue
		}
		value := word[at+1:]
		if value == "" && i+1 < len(words) {
			i++
			value = words[i]
		}
		switch word[at] {
		case 'i':
			r.identity(value)
		case 'o':
			r.option(value)
		case 'F':
			configs = []string{r.expand(value)}
		}
	}
	for _, path := range configs {
		r.file(path)
	}
}

func (r *choiceReader) option(text string) {
	if keyword, value := directive(text); keyword == "identityfile" {
		r.identity(value)
	}
}

// file reads a configuration (ssh_config(5)). Whether a Match block applies only
// ssh knows: here it does.
func (r *choiceReader) file(path string) {
	if r.left--; r.left < 0 {
		return
	}
	applies := true
	for line := range strings.Lines(string(readSome(path, maxConfigSize))) {
		switch keyword, value := directive(line); {
		case keyword == "host":
			applies = r.isHost(strings.Fields(value))
		case keyword == "match":
			applies = true
		case keyword == "identityfile" && applies:
			r.identity(value)
		case keyword == "include" && applies:
			r.include(value)
		}
	}
}

func (r *choiceReader) include(value string) {
	for _, pattern := range strings.Fields(value) {
		pattern = r.expand(pattern)
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(r.home, ".ssh", pattern)
		}
		paths, err := filepath.Glob(pattern)
		if err != nil {
			continue // no such pattern: ssh refuses it itself
		}
		for _, path := range paths {
			r.file(path)
		}
	}
}

// isHost reports whether one of the words that may be the host fits (ssh_config(5),
// PATTERNS).
func (r *choiceReader) isHost(patterns []string) bool {
	for _, host := range r.hosts {
		fits := false
		for _, p := range patterns {
			not := strings.HasPrefix(p, "!")
			match, err := filepath.Match(strings.ToLower(strings.TrimPrefix(p, "!")), host)
			if err != nil || !match {
				continue
			}
			if fits = !not; not {
				break
			}
		}
		if fits {
			return true
		}
	}
	return false
}

// identity reads the public half of a key that is named.
func (r *choiceReader) identity(path string) {
	if path == "" || path == "none" {
		return
	}
	path = r.expand(path)
	if !filepath.IsAbs(path) || strings.ContainsAny(path, "%$") { // ssh's folder, ssh's tokens
		r.choice.unclear = true
		return
	}
	for _, file := range []string{path, path + ".pub"} {
		key, _, _, _, err := ssh.ParseAuthorizedKey(readSome(file, maxPublicSize))
		if err != nil {
			continue // a private key, or no file
		}
		if r.choice.blobs == nil {
			r.choice.blobs = map[string]bool{}
		}
		r.choice.blobs[string(key.Marshal())] = true
	}
}

func (r *choiceReader) expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(r.home, rest)
	}
	return strings.ReplaceAll(path, "%d", r.home)
}

// directive splits `Keyword value`, `Keyword=value` and `Keyword "value"`; the
// keyword is lower case.
func directive(line string) (keyword, value string) {
	line = strings.TrimSpace(line)
	end := strings.IndexAny(line, " \t=")
	if end < 0 || strings.HasPrefix(line, "#") {
		return "", ""
	}
	value = strings.TrimLeft(line[end:], " \t=")
	return strings.ToLower(line[:end]), strings.Trim(value, `"`)
}

// readSome reads the beginning of a regular file; what cannot be read is empty.
func readSome(path string, limit int64) []byte {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil // a FIFO would make the agent wait
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil
	}
	return bytes.TrimSpace(b)
}
