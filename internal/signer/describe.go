package signer

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// Line is one thing that a sheet says, and how far it can be believed. Both
// texts are fit to be shown.
type Line struct {
	Name    string              `json:"name"`
	Value   string              `json:"value"`
	Quality wire.ContextQuality `json:"quality"` // verified by the phone, or claimed by the computer
	// Warning marks what a person has to acknowledge.
	Warning bool `json:"warning,omitempty"`
}

// Title says in a few words what is asked for: `root@prod-1.example.com`, `git
// commit signature (claimed)`, `unknown`. A host has the name that this phone knows
// it by; what only the computer says is marked as claimed.
func (s SignSheet) Title() string {
	k := s.Known
	switch k.Kind {
	case sshctx.HostBound, sshctx.UserAuth:
		return brief(k.User, maxTitleUser) + "@" + s.hostTitle()
	case sshctx.SSHSIG:
		if g := s.Claimed.Git; g != nil && k.Namespace == "git" && slices.Contains(gitKinds, g.Kind) {
			return "git " + g.Kind + " signature (claimed)"
		}
		return brief(k.Namespace, maxTitleUser) + " signature"
	}
	return "unknown"
}

// gitKinds are what git signs; another word of the computer's would be free text in
// a title.
var gitKinds = []string{"commit", "tag"}

func (s SignSheet) hostTitle() string {
	known := s.Destination.Names
	switch {
	case slices.Contains(known, s.Claimed.HostName):
		return brief(s.Claimed.HostName, maxTitleHost)
	case len(known) > 0:
		return brief(known[0], maxTitleHost)
	case s.Claimed.HostName != "":
		return brief(s.Claimed.HostName, maxTitleHost) + " (claimed)"
	case s.Destination.HostKey != nil:
		return s.Destination.Fingerprint()
	}
	return "unknown"
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
func brief(name string, size int) string {
	name = cut(name, size)
	word := name
	if host, port, ok := strings.Cut(name, "]:"); ok && strings.HasPrefix(host, "[") && strings.Trim(port, "0123456789") == "" {
		word = host[1:] // [HOST]:PORT, as known_hosts has it
	}
	if strings.IndexFunc(word, endsAWord) < 0 {
		return name
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

func endsAWord(r rune) bool {
	return strings.ContainsRune(` ,"@＠﹫`, r) || unicode.In(r, unicode.Ps, unicode.Pe)
}

// cut is the beginning of a name that is too long.
func cut(name string, size int) string {
	name = wire.Show(name)
	if len(name) <= size {
		return name
	}
	for len(name) > size {
		_, last := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-last]
	}
	return name + "…"
}

// briefly are names as a part of a text: the first few.
func briefly(names []string) string {
	const few = 3
	var list []string
	for _, name := range names[:min(len(names), few)] {
		list = append(list, brief(name, maxTitleHost))
	}
	text := strings.Join(list, ", ")
	if len(names) > few {
		text += fmt.Sprintf(" and %d more", len(names)-few)
	}
	return text
}

// shown is what a computer says, fit to be shown.
func shown(c wire.Context) wire.Context {
	c.HostName, c.Account = wire.Show(c.HostName), wire.Show(c.Account)
	c.Programs = slices.Clone(c.Programs)
	for i, name := range c.Programs {
		c.Programs[i] = wire.Show(name)
	}
	if g := c.Git; g != nil {
		c.Git = &wire.GitObject{
			Kind: wire.Show(g.Kind), Subject: wire.Show(g.Subject), Author: wire.Show(g.Author), Repository: wire.Show(g.Repository),
		}
	}
	return c
}

// Lines say the rest, the most important first. Key, computer and time stand in
// the sheet itself.
func (s SignSheet) Lines() []Line {
	var list []Line
	// What is verified can stand in a text of this program's, whose end is not to be
	// cut: the parts that others chose are shortened, not the whole.
	verified := func(name, value string) {
		list = append(list, Line{Name: name, Value: value, Quality: wire.QualityVerified})
	}
	claimed := func(name, value string) {
		if value != "" {
			list = append(list, Line{Name: name, Value: wire.Show(value), Quality: wire.QualityClaimed})
		}
	}
	for _, w := range s.warnings() {
		list = append(list, Line{Name: "warning", Quality: wire.QualityVerified, Warning: true, Value: w.text})
	}
	switch s.Known.Kind {
	case sshctx.HostBound, sshctx.UserAuth:
		verified("user", brief(s.Known.User, maxTitleHost)+s.userNote())
		s.describeServer(verified, claimed)
	case sshctx.SSHSIG:
		verified("purpose", wire.Show(s.Known.Namespace))
	}
	claimed("name", s.Claimed.HostName)
	switch via := s.Destination.Via; {
	case slices.ContainsFunc(via, func(h Hop) bool { return h.Unproven }):
		claimed("through", through(via))
	case len(via) > 0:
		verified("through", through(via))
	}
	if g := s.Claimed.Git; g != nil {
		claimed("subject", g.Subject)
		claimed("author", g.Author)
		claimed("repository", g.Repository)
	}
	claimed("program", strings.Join(s.Claimed.Programs, " ← "))
	claimed("run by", s.Claimed.Account)
	if s.Known.Kind == sshctx.SSHSIG {
		verified("hash", wire.Show(s.Known.HashAlgorithm)+":"+fmt.Sprintf("%x", s.Known.Hash)[:32]+"…")
	}
	return list
}

// Listed are the lines that a request needs where it is one of several on a sheet:
// those that tell it from the others, and those without which nobody would say yes.
func (s SignSheet) Listed() []Line {
	return slices.DeleteFunc(s.Lines(), func(l Line) bool {
		switch l.Name {
		case "server", "host key", "proof", "through", "run by", "subject", "hash":
			return false
		case "user":
			return s.userNote() == ""
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
const seenBefore = "before"

func (s SignSheet) userNote() string {
	if s.Destination.Memory == HostKnown && s.Destination.NewUser {
		return ", for the first time on this server"
	}
	return ""
}

// describeServer tells the host key, and what this phone remembers of it.
func (s SignSheet) describeServer(verified, claimed func(name, value string)) {
	d := s.Destination
	switch {
	case d.HostKey == nil && d.Unproven != nil:
		verified("server", "not proven: this phone cannot check its host key ("+cut(sshctx.TypeName(d.Unproven), maxTitleHost)+")")
		claimed("host key", sshctx.Fingerprint(d.Unproven))
		verified("hint", "ssh -o HostKeyAlgorithms=ssh-ed25519 uses another of its host keys, if it has one")
		return
	case d.HostKey == nil:
		verified("server", "not known: nothing in what is signed names it")
		return
	}
	verified("server", d.Fingerprint())
	if s.Known.Kind == sshctx.UserAuth {
		verified("proof", "the server has signed the session; what is signed here does not name it")
	}
	switch {
	case d.Memory == HostFirst && len(d.OtherTypes) > 0:
		verified("seen", fmt.Sprintf("never before by this phone, which knows %s by a host key of another type: %s",
			brief(s.Claimed.HostName, maxTitleHost), briefly(d.OtherTypes)))
	case d.Memory == HostFirst:
		verified("seen", "never before by this phone")
	case d.Memory == HostKnown && len(d.Names) > 0 && !slices.Equal(d.Names, []string{s.Claimed.HostName}):
		verified("seen", "before, as "+briefly(d.Names))
	case d.Memory == HostKnown:
		verified("seen", seenBefore)
	}
}

func through(hops []Hop) string {
	names := make([]string, len(hops))
	for i, h := range hops {
		names[i] = h.String()
	}
	return strings.Join(names, " → ")
}
