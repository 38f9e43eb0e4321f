// Package hostname is this computer's name in the networks that it is in: NAME.local,
// as its responder of multicast DNS tells it (RFC 6762). A hub that was given no name
// has this one, and keeps it. The package neither publishes names nor looks them up.
package hostname

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"regexp"
	"strings"
	"time"

	"vmux/internal/state"
)

const (
	suffix   = ".local"
	maxLabel = 63 // RFC 1035 section 2.3.4
	maxName  = 253

	// keptFile has the name of the hub whose state folder it is in. Where an earlier
	// version has run, the root that phones trust has it.
	keptFile = "name"
	rootFile = "ca/root.pem"
)

// label is a name that URLs, certificates and passkeys can carry (RFC 1123 section 2.1).
var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// Valid reports whether a name in lower case is one that URLs, certificates and
// passkeys can carry.
func Valid(name string) bool {
	if len(name) > maxName {
		return false
	}
	for l := range strings.SplitSeq(name, ".") {
		if !label.MatchString(l) {
			return false
		}
	}
	return true
}

// Rules are what Valid checks, for people.
const Rules = "letters from a to z, digits, and hyphens between them, up to 63 in each part"

// Unusable is a computer's name that no host can have.
type Unusable struct{ Name string }

// Error implements error.
func (e *Unusable) Error() string {
	if e.Name == "" || isLocalhost(e.Name) {
		return "this computer has no name of its own in its network"
	}
	return fmt.Sprintf("this computer's name, %q, cannot be that of a host: such names have %s", e.Name, Rules)
}

// Hint tells how the computer gets a name.
func (e *Unusable) Hint() string { return Rename(suggest(e.Name)) }

// Local returns what this computer is called now, as NAME.local. Errors are *Unusable.
func Local() (string, error) {
	name, err := published()
	if err != nil {
		name = ""
	}
	return local(name)
}

// local makes a host name of one that a computer was given.
func local(name string) (string, error) {
	first, _, _ := strings.Cut(name, ".")
	l := strings.ToLower(sanitize(first))
	if !label.MatchString(l) || isLocalhost(l) {
		return "", &Unusable{name}
	}
	return l + suffix, nil
}

func isLocalhost(name string) bool {
	first, _, _ := strings.Cut(strings.ToLower(name), ".")
	return first == "localhost"
}

// strip leaves what avahi-daemon leaves of a computer's name: what is found in the
// network is that, and no name that would read better.
func strip(s string) string {
	s = strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, s)
	return s[:min(len(s), maxLabel)]
}

// suggest makes a name that hosts can have, as like the given one as can be.
func suggest(name string) string {
	first, _, _ := strings.Cut(strings.ToLower(name), ".")
	words := strings.FieldsFunc(first, func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9') })
	s := strings.Join(words, "-")
	s = strings.Trim(s[:min(len(s), maxLabel)], "-")
	if s == "" || isLocalhost(s) {
		return "laptop"
	}
	return s
}

// Name is that of a hub with a state folder.
type Name struct {
	Kept string // the hub's, NAME.local
	Now  string // what the computer is called now; "" if that cannot be a host's name
}

// Keep returns the name that the hub of the folder has since its first start, which
// is now if there is none: passkeys belong to it, phones know the hub by it and trust
// its certificates for it. Errors are *Unusable, or say what could not be read.
func Keep(dir *state.Dir) (Name, error) {
	now, unusable := Local()
	kept, err := kept(dir)
	if err != nil || kept != "" {
		return Name{kept, now}, err
	}
	if unusable != nil {
		return Name{}, unusable
	}
	if err := dir.Put(keptFile, []byte(now+"\n")); err != nil {
		return Name{}, fmt.Errorf("keep the hub's name: %w", err)
	}
	return Name{now, now}, nil
}

// kept returns the name that is written down, "" if none is.
func kept(dir *state.Dir) (string, error) {
	b, err := dir.Get(keptFile)
	if err != nil {
		return "", fmt.Errorf("read the hub's name: %w", err)
	}
	if b != nil {
		name := strings.TrimSpace(string(b))
		if l, ok := strings.CutSuffix(name, suffix); ok && label.MatchString(l) {
			return name, nil
		}
		return "", fmt.Errorf("read the hub's name: %s/%s has none: write it there, as NAME%s, or delete the file", dir.Path(), keptFile, suffix)
	}
	if b, err = dir.Get(rootFile); err != nil {
		return "", fmt.Errorf("read the local CA: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return "", nil
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil || len(root.PermittedDNSDomains) == 0 {
		return "", nil // whoever serves with it says so
	}
	if l, ok := strings.CutSuffix(root.PermittedDNSDomains[0], suffix); ok && label.MatchString(l) {
		return root.PermittedDNSDomains[0], nil
	}
	return "", nil
}

// Changed tells that the computer is no longer called what its hub is, and what to do;
// "" if it is.
func (n Name) Changed() (what, hint string) {
	if n.Now == n.Kept || n.Kept == "" {
		return "", ""
	}
	is := n.Now
	if is == "" {
		is = "no name that a host can have"
	}
	return fmt.Sprintf("this computer is called %s now, and its hub is %s still: phones find it only while the computer tells that name", is, n.Kept),
		Rename(strings.TrimSuffix(n.Kept, suffix))
}

// Renamed is Changed by the name that the computer has at this moment.
func (n Name) Renamed() (what, hint string) {
	if n.Kept == "" {
		return "", ""
	}
	n.Now, _ = Local() // without one, it has none
	return n.Changed()
}

// watchEvery is how often a change of the computer's name is looked for.
const watchEvery = time.Minute

// Watch tells at once, and after each change until ctx ends, that the computer is no
// longer called what its hub is.
func (n Name) Watch(ctx context.Context, tell func(what, hint string)) {
	n.watch(ctx, watchEvery, Local, tell)
}

func (n Name) watch(ctx context.Context, every time.Duration, local func() (string, error), tell func(what, hint string)) {
	if n.Kept == "" {
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	told := ""
	for {
		n.Now, _ = local() // without one, it has none
		what, hint := n.Changed()
		if what != told && what != "" {
			tell(what, hint)
		}
		told = what
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
