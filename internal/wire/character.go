//go:build !js

package wire

import "unicode"

// isCharacter reports whether the code point stands for something that is drawn, or
// a blank.
func isCharacter(r rune) bool { return unicode.IsGraphic(r) }
