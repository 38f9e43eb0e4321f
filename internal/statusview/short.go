package statusview

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// What Short says where there is no status.
const (
	ShortNoAgent  = "no agent"
	ShortNoAnswer = "agent does not answer"
)

// shortName is how long a phone's name may be in a prompt, in characters.
const shortName = 20

// Short is the status in a few words, for a prompt: what keeps a login from working
// comes first.
func Short(s control.Status, now time.Time) string {
	if s.Locked {
		return "locked"
	}
	var words []string
	if n := len(s.Waiting); n > 0 {
		words = append(words, fmt.Sprintf("%d waiting", n))
	}
	words = append(words, connected(s.Phones))
	switch s.Certificate.State {
	case control.CertificateValid:
		words = append(words, "cert "+Span(s.Certificate.ValidBefore.Sub(now)))
	case control.CertificateExpired:
		words = append(words, "cert expired")
	}
	return strings.Join(words, ", ")
}

// connected names the phone, or says how many there are.
func connected(list []control.Device) string {
	name, n := "no phone", 0
	for _, d := range list {
		if d.Connected {
			name, n = forPrompt(d.Name), n+1
		}
	}
	if n > 1 {
		return fmt.Sprintf("%d phones", n)
	}
	return name
}

// forPrompt leaves of a name, which another device chose, what no prompt takes for
// more than text: zsh reads % in what a command printed, and tmux #, of which #(…)
// would be run.
func forPrompt(name string) string {
	letters := []rune(strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" .-_'", r) {
			return r
		}
		return '_'
	}, wire.Show(name)))
	if len(letters) > shortName {
		return string(letters[:shortName-1]) + "…"
	}
	return string(letters)
}
