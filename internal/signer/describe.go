package signer

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"vmux/internal/signer/activity"
	"vmux/internal/signer/hosts"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// Title says in a few words what is asked for: `root@prod-1.example.com`, `git
// commit signature (claimed)`, `unknown`. A host has the name that this phone knows
// it by; what only the computer says is marked as claimed.
func (s SignSheet) Title() wire.Text {
	k := s.Known
	switch k.Kind {
	case sshctx.HostBound, sshctx.UserAuth:
		return wire.Say("%s@%s", brief(wire.Clean(k.User), maxTitleUser), s.hostTitle())
	case sshctx.SSHSIG:
		if g := s.Claimed.Git; g != nil && k.Namespace == "git" && slices.Contains(gitKinds, g.Kind.String()) {
			return wire.Say("git %s signature (claimed)", g.Kind)
		}
		return wire.Say("%s signature", brief(wire.Clean(k.Namespace), maxTitleUser))
	case sshctx.Sudo:
		return challengeTitle(k)
	}
	return wire.Say("unknown")
}

// gitKinds are what git signs; another word of the computer's would be free text in
// a title.
var gitKinds = []string{"commit", "tag"}

func (s SignSheet) hostTitle() wire.Text {
	known := s.Destination.Names
	switch {
	case slices.Contains(known, s.Claimed.HostName):
		return brief(s.Claimed.HostName, maxTitleHost)
	case len(known) > 0:
		return brief(known[0], maxTitleHost)
	case s.Claimed.HostName != (wire.Text{}):
		return wire.Say("%s (claimed)", brief(s.Claimed.HostName, maxTitleHost))
	case s.Destination.HostKey != nil:
		return wire.Clean(s.Destination.Fingerprint())
	}
	return wire.Say("unknown")
}

// In a title names have at most these sizes, in bytes. The lines have all of them.
const (
	maxTitleUser = 32
	maxTitleHost = 64
)

// brief is a name as a part of a text: a computer that chooses a long one must not
// push away what follows; and one that is more than a word stands in quotes, since it
// would read like another text. "git commit" is signed as easily as "git", and a user
// can be called "root@prod.example.com".
func brief(text wire.Text, size int) wire.Text {
	text = cut(text, size)
	name := text.String()
	word := name
	if host, port, ok := strings.Cut(name, "]:"); ok && strings.HasPrefix(host, "[") && strings.Trim(port, "0123456789") == "" {
		word = host[1:] // [HOST]:PORT, as known_hosts has it
	}
	if strings.IndexFunc(word, endsAWord) < 0 {
		return text
	}
	return wire.Say(`"%s"`, wire.Clean(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name)))
}

func endsAWord(r rune) bool {
	return strings.ContainsRune(` ,"@＠﹫`, r) || unicode.In(r, unicode.Ps, unicode.Pe)
}

// cut is the beginning of a name that is too long.
func cut(text wire.Text, size int) wire.Text {
	name := text.String()
	if len(name) <= size {
		return text
	}
	for len(name) > size {
		_, last := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-last]
	}
	return wire.Clean(name + "…")
}

// briefly are names as a part of a text: the first few.
func briefly(names []wire.Text) wire.Text {
	const few = 3
	var list []wire.Text
	for _, name := range names[:min(len(names), few)] {
		list = append(list, brief(name, maxTitleHost))
	}
	text := wire.JoinTexts(list, ", ")
	if len(names) > few {
		return wire.Say("%s and %s more", text, wire.Clean(strconv.Itoa(len(names)-few)))
	}
	return text
}

// Claims are a wire.Context, fit to be shown: what the computer says of a request.
type Claims struct {
	HostName wire.Text
	Programs wire.Text // the requesting program and its parents, nearest first
	Account  wire.Text
	Git      *GitClaims
}

// GitClaims are a wire.GitObject, fit to be shown.
type GitClaims struct{ Kind, Subject, Author, Repository wire.Text }

// ClaimsOf cleans what a computer says.
func ClaimsOf(c wire.Context) Claims {
	said := Claims{HostName: wire.Clean(c.HostName), Programs: wire.Clean(strings.Join(c.Programs, " ← ")), Account: wire.Clean(c.Account)}
	if g := c.Git; g != nil {
		said.Git = &GitClaims{wire.Clean(g.Kind), wire.Clean(g.Subject), wire.Clean(g.Author), wire.Clean(g.Repository)}
	}
	return said
}

// Lines say the rest, the most important first. Key, computer and time stand in
// the sheet itself.
func (s SignSheet) Lines() []activity.Line {
	var list []activity.Line
	// What is verified can stand in a text of this program's, whose end is not to be
	// cut: the parts that others chose are shortened, not the whole.
	verified := func(name string, value wire.Text) {
		list = append(list, activity.Line{Name: name, Value: value, Quality: wire.QualityVerified})
	}
	claimed := func(name string, value wire.Text) {
		if value != (wire.Text{}) {
			list = append(list, activity.Line{Name: name, Value: value, Quality: wire.QualityClaimed})
		}
	}
	for _, w := range s.warnings() {
		list = append(list, activity.Line{Name: "warning", Quality: wire.QualityVerified, Warning: true, Value: w.text})
	}
	switch s.Known.Kind {
	case sshctx.HostBound, sshctx.UserAuth:
		verified("user", wire.Say("%s%s", brief(wire.Clean(s.Known.User), maxTitleHost), s.userNote()))
		s.describeServer(verified, claimed)
	case sshctx.SSHSIG:
		verified("purpose", wire.Clean(s.Known.Namespace))
	case sshctx.Sudo:
		list = append(list, describeChallenge(s.Known, verified)...)
	}
	claimed("name", s.Claimed.HostName)
	switch via := s.Destination.Via; {
	case slices.ContainsFunc(via, func(h hosts.Hop) bool { return h.Unproven }):
		claimed("through", wire.Clean(through(via).String()))
	case len(via) > 0:
		verified("through", through(via))
	}
	if g := s.Claimed.Git; g != nil {
		claimed("subject", g.Subject)
		claimed("author", g.Author)
		claimed("repository", g.Repository)
	}
	claimed("program", s.Claimed.Programs)
	claimed("run by", s.Claimed.Account)
	if s.Known.Kind == sshctx.SSHSIG {
		verified("hash", wire.Say("%s:%s…", wire.Clean(s.Known.HashAlgorithm), wire.Clean(hex.EncodeToString(s.Known.Hash)[:32])))
	}
	return list
}

// Listed are the lines that a request needs where it is one of several on a sheet:
// those that tell it from the others, and those without which nobody would say yes.
func (s SignSheet) Listed() []activity.Line {
	return slices.DeleteFunc(s.Lines(), func(l activity.Line) bool {
		switch l.Name {
		case "server", "host key", "proof", "through", "run by", "subject", "hash", "caution", "command", "…":
			return false
		case "user":
			return s.userNote() == wire.Text{}
		case "name": // in the title, but where the title has one that is known: this one will be
			names := s.Destination.Names
			return len(names) == 0 || slices.Contains(names, s.Claimed.HostName)
		case "seen":
			return l.Value == seenBefore
		}
		return true
	})
}

// seenBefore is all that there is to say of a server that is known as it was.
var seenBefore = wire.Say("before")

func (s SignSheet) userNote() wire.Text {
	if s.Destination.Memory == hosts.Known && s.Destination.NewUser {
		return wire.Say(", for the first time on this server")
	}
	return wire.Text{}
}

// describeServer tells the host key, and what this phone remembers of it.
func (s SignSheet) describeServer(verified, claimed func(string, wire.Text)) {
	d := s.Destination
	switch {
	case d.HostKey == nil && d.Unproven != nil:
		verified("server", wire.Say("not proven: this phone cannot check its host key (%s)", cut(wire.Clean(sshctx.TypeName(d.Unproven)), maxTitleHost)))
		claimed("host key", wire.Clean(sshctx.Fingerprint(d.Unproven)))
		verified("hint", wire.Say("ssh -o HostKeyAlgorithms=ssh-ed25519 uses another of its host keys, if it has one"))
		return
	case d.HostKey == nil:
		verified("server", wire.Say("not known: nothing in what is signed names it"))
		return
	}
	verified("server", wire.Clean(d.Fingerprint()))
	if s.Known.Kind == sshctx.UserAuth {
		verified("proof", wire.Say("the server has signed the session; what is signed here does not name it"))
	}
	switch {
	case d.Memory == hosts.First && len(d.OtherTypes) > 0:
		verified("seen", wire.Say("never before by this phone, which knows %s by a host key of another type: %s",
			brief(s.Claimed.HostName, maxTitleHost), briefly(d.OtherTypes)))
	case d.Memory == hosts.First:
		verified("seen", wire.Say("never before by this phone"))
	case d.Memory == hosts.Known && len(d.Names) > 0 && !slices.Equal(d.Names, []wire.Text{s.Claimed.HostName}):
		verified("seen", wire.Say("before, as %s", briefly(d.Names)))
	case d.Memory == hosts.Known:
		verified("seen", seenBefore)
	}
}

func through(hops []hosts.Hop) wire.Text {
	names := make([]wire.Text, len(hops))
	for i, h := range hops {
		names[i] = hopName(h)
	}
	return wire.JoinTexts(names, " → ")
}

// hopName is the name that this phone knows, or the fingerprint.
func hopName(h hosts.Hop) wire.Text {
	fingerprint := wire.Clean(sshctx.Fingerprint(h.HostKey))
	switch {
	case h.Unproven:
		return wire.Say("%s (not proven)", fingerprint)
	case len(h.Names) > 0:
		return brief(h.Names[0], maxTitleHost)
	}
	return fingerprint
}

// qualityOf says how much of a request the phone knows by itself.
func qualityOf(known sshctx.Context, d hosts.Destination, claimed Claims) wire.ContextQuality {
	switch {
	case known.Kind == sshctx.SSHSIG, d.HostKey != nil:
		return wire.QualityVerified
	case known.Kind == sshctx.Sudo, claimed.HostName != (wire.Text{}) || claimed.Programs != (wire.Text{}):
		return wire.QualityClaimed
	}
	return wire.QualityUnknown
}
