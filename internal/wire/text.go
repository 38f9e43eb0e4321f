package wire

import (
	"fmt"
	"strings"
)

// Text is text that may be shown: whatever another device, a file or a person chose has
// passed Show on its way into it. There is no other way: its string is out of reach of
// other packages, so that showing what was not cleaned does not compile.
//
// What is compared exactly with something signed or allowed (user names, principals,
// purposes of signatures) stays a string until the decision is made: two that differ
// can have the same Text. So do messages on their way: see checkText.
type Text struct{ shown string }

// Clean makes s fit to be shown.
func Clean(s string) Text { return Text{Show(s)} }

// String returns the text.
func (t Text) String() string { return t.shown }

// MarshalText implements encoding.TextMarshaler.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.shown), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It cleans.
func (t *Text) UnmarshalText(b []byte) error {
	*t = Clean(string(b))
	return nil
}

// constant is a text of this program's own: outside of this package only a constant
// becomes one.
type constant string

// Say puts texts (%s) into one of this program's own. Nothing of it is cut.
func Say(words constant, parts ...Text) Text {
	list := make([]any, len(parts))
	for i, t := range parts {
		list[i] = t.shown
	}
	return Text{fmt.Sprintf(string(words), list...)}
}

// JoinTexts puts texts behind each other. Nothing of it is cut.
func JoinTexts(list []Text, between constant) Text {
	parts := make([]string, len(list))
	for i, t := range list {
		parts[i] = t.shown
	}
	return Text{strings.Join(parts, string(between))}
}
