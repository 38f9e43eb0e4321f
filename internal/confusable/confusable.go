// Package confusable tells names that look alike, by the skeletons of UTS 39, so
// that one cannot pass for another. It knows nothing of what the names are of. Its
// table is Unicode's confusables.txt, in a form that is small enough for the web app.
package confusable

import (
	_ "embed"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// Alike reports whether a person could take one name for the other. Case counts for
// nothing, as with host names.
func Alike(a, b string) bool {
	return a == b || skeleton(a) == skeleton(b) || folded(a) == folded(b) || likeness(a) == likeness(b)
}

// folded is the skeleton of a name without case: UTS 39 takes I for l, but not PROD for
// prod.
func folded(s string) string { return skeleton(strings.ToLower(compatible(s))) }

// likeness is folded for what only the skeleton shows to be a letter: PROD-I looks like
// PROD-1, and 0RACLE like ORACLE, which are as good as prod-1 and oracle.
func likeness(s string) string { return skeleton(strings.ToLower(skeleton(compatible(s)))) }

// skeleton is that of UTS 39 section 4: not to be shown, nor to be kept, since
// Unicode changes it.
func skeleton(s string) string {
	var b strings.Builder
	for _, r := range decompose(s) {
		if unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			continue // default-ignorable
		}
		if target, ok := prototypes().of(r); ok {
			b.WriteString(target)
		} else {
			b.WriteRune(r)
		}
	}
	return decompose(b.String())
}

// table are the characters that look like others, in order: of each how much greater
// it is than the one before, as a uvarint; zero; then of each what it looks like, and
// a line feed. `go test ./internal/confusable -update` writes it.
//
//go:embed table.bin
var table []byte

// looks says what characters look like.
type looks struct {
	from []rune // sorted
	like []string
}

func (l looks) of(r rune) (string, bool) {
	n, found := slices.BinarySearch(l.from, r)
	if !found {
		return "", false
	}
	return l.like[n], true
}

var prototypes = sync.OnceValue(func() (l looks) {
	rest, r := table, rune(0)
	for {
		more, size := binary.Uvarint(rest)
		rest = rest[size:]
		if more == 0 {
			break
		}
		r += rune(more)
		l.from = append(l.from, r)
	}
	l.like = strings.Split(string(rest), "\n")
	return l
})
