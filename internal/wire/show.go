package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text that another device chose stands on a sheet beside what this one knows. It
// must neither move there, nor hide, nor look like another text that is not the
// same.

// maxMarks is how many marks one character may carry; more of them would be drawn
// over the lines above and below.
const maxMarks = 4

// blankLooking are characters that fonts draw as nothing and that are no blanks by
// their properties: BRAILLE PATTERN BLANK, MUSICAL SYMBOL NULL NOTEHEAD, KHITAN
// SMALL SCRIPT FILLER, two EGYPTIAN HIEROGLYPH BLANKs.
const blankLooking = "\u2800\U0001D159\U00016FE4\U00013441\U00013442"

// Printable reports whether s is UTF-8 that can be shown as one line without
// deceiving: no control characters (which move a terminal's cursor), no format
// characters such as bidirectional overrides (which reorder what is read), no line
// or paragraph separators, nothing that is drawn as nothing (default-ignorable
// characters, fillers), no code points that stand for no character.
func Printable(s string) bool {
	var f filter
	return utf8.ValidString(s) && strings.IndexFunc(s, f.refuses) < 0
}

// Show makes s fit to be shown: what Printable forbids becomes U+FFFD, blanks of
// any kind and number become one space, with none at the ends, and what is then
// over MaxNameSize bytes is cut between two characters.
func Show(s string) string {
	var f filter
	s = strings.Map(func(r rune) rune {
		if f.refuses(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), 2*MaxNameSize)], "\uFFFD"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= MaxNameSize {
		return s
	}
	end := MaxNameSize
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.TrimRight(s[:end], " ")
}

// filter looks at a text, one character after the other.
type filter struct {
	before rune
	marks  int
}

func (f *filter) refuses(r rune) bool {
	before := f.before
	f.before = r
	if unicode.In(r, unicode.Mn, unicode.Me) {
		f.marks++
	} else {
		f.marks = 0
	}
	switch {
	case f.marks > maxMarks, !isCharacter(r), strings.ContainsRune(blankLooking, r):
		return true
	case r == '\uFE0E' || r == '\uFE0F':
		return !unicode.Is(unicode.So, before) // as in ❤️, which phones write
	}
	// With Cf, which is no character here, Default_Ignorable_Code_Point of DerivedCoreProperties.txt.
	return unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
