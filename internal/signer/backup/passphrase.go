package backup

import (
	"crypto/rand"
	"strings"
	"unicode"
	"unicode/utf8"

	"vmux/internal/signer/policy"
)

const (
	// minPassphrase is the least that a person's own passphrase has, in characters. A backup
	// that is stolen can be guessed at for years.
	minPassphrase = 12
	// A passphrase of NewPassphrase has 100 bits, of which no work factor is needed.
	groups, groupSize = 4, 5
	alphabet          = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

// CheckPassphrase reports why a passphrase is not taken for a new backup.
func CheckPassphrase(p []byte) error {
	distinct := map[rune]bool{}
	for _, r := range string(p) {
		distinct[r] = true
	}
	switch {
	case !utf8.Valid(p) || strings.TrimSpace(string(p)) != string(p):
		return policy.Invalid("a passphrase has no space at its ends")
	case utf8.RuneCount(p) < minPassphrase || len(distinct) < minPassphrase/2:
		return policy.Invalid("the passphrase of a backup has at least %d characters, and not the same ones over and over: whoever finds the file can guess at it for as long as they like", minPassphrase)
	}
	return nil
}

// NewPassphrase returns a passphrase that nobody guesses, in letters and digits, none of which
// is the 0, 1 or 8 that a letter is mistaken for.
func NewPassphrase() string { return grouped(rand.Text()[:groups*groupSize]) }

func grouped(text string) string {
	var list []string
	for i := 0; i < len(text); i += groupSize {
		list = append(list, text[i:i+groupSize])
	}
	return strings.Join(list, "-")
}

// tidy is a passphrase as it was meant: without what a copy brought along, and one of
// NewPassphrase without the case and the separators that it was typed with.
func tidy(p string) string {
	plain := strings.ToUpper(strings.Map(func(r rune) rune {
		if n := strings.IndexRune("018", r); n >= 0 { // not in the alphabet: read wrong from paper
			return rune("OIB"[n])
		}
		if unicode.IsSpace(r) || strings.ContainsRune("-\u2010\u2011\u2012\u2013\u2014\u2212"+unseen, r) {
			return -1
		}
		return r
	}, p))
	if len(plain) == groups*groupSize && strings.Trim(plain, alphabet) == "" {
		return grouped(plain)
	}
	return strings.TrimFunc(p, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(unseen, r) })
}

// unseen comes along from an editor or a page: the byte order mark, which is also a space of
// no width, and soft hyphens.
const unseen = "\ufeff\u200b\u00ad"
