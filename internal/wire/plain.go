package wire

import (
	"bytes"
	"encoding/binary"
)

// What this program writes itself needs no reflection to be read: an envelope
// with its fields in their order, no spaces, no escapes. Whatever is not exactly
// that is left to encoding/json, which decides over it; both accept the same, and
// a fuzz test holds them together.

var (
	plainStart = []byte(`{"version":1,"id":"`)
	plainKind  = []byte(`","kind":"`)
	plainBody  = []byte(`","body":`)
)

// decodePlain reads an envelope if it is written plainly.
func decodePlain(b []byte) (Envelope, bool) {
	rest, ok := bytes.CutPrefix(b, plainStart)
	if !ok {
		return Envelope{}, false
	}
	id, rest, ok := cutName(rest)
	if !ok {
		return Envelope{}, false
	}
	if rest, ok = bytes.CutPrefix(rest, plainKind); !ok {
		return Envelope{}, false
	}
	kind, rest, ok := cutName(rest)
	if !ok {
		return Envelope{}, false
	}
	e := Envelope{Version: 1, ID: string(id), Kind: kindOf(kind)}
	if string(rest) == `"}` {
		return e, true
	}
	if rest, ok = bytes.CutPrefix(rest, plainBody); !ok {
		return Envelope{}, false
	}
	if end, ok := skipPlain(rest, maxPlainDepth); !ok || string(rest[end:]) != "}" {
		return Envelope{}, false
	}
	e.Body = rest[: len(rest)-1 : len(rest)-1]
	return e, true
}

// kindOf returns a kind without making a new string of one that is known.
func kindOf(name []byte) Kind {
	for _, k := range kinds {
		if string(name) == string(k) {
			return k
		}
	}
	return Kind(name)
}

// cutName cuts an id or kind off, which the closing quote follows.
func cutName(b []byte) (name, rest []byte, ok bool) {
	for i := 0; i < len(b) && i <= MaxIDSize; i++ {
		switch c := b[i]; {
		case c == '"':
			return b[:i], b[i:], i > 0
		case c == '\\' || c < ' ' || c > '~':
			return nil, nil, false
		}
	}
	return nil, nil, false
}

const maxPlainDepth = 8

// skipPlain returns where a JSON value (RFC 8259) ends that begins at b[0] and
// has no spaces, no escapes in names or text, no fractions and little depth.
func skipPlain(b []byte, depth int) (end int, ok bool) {
	if len(b) == 0 || depth == 0 {
		return 0, false
	}
	switch c := b[0]; {
	case c == '"':
		return skipText(b)
	case c == '{':
		return skipList(b, '}', depth)
	case c == '[':
		return skipList(b, ']', depth)
	case c == '-' || '0' <= c && c <= '9':
		return skipInteger(b)
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if len(b) >= len(word) && string(b[:len(word)]) == word {
			return len(word), true
		}
	}
	return 0, false
}

func skipText(b []byte) (end int, ok bool) {
	n := bytes.IndexByte(b[1:], '"')
	if n < 0 {
		return 0, false
	}
	text := b[1 : 1+n]
	for len(text) >= 8 {
		if word := binary.LittleEndian.Uint64(text); hasBelow(word, ' ') || hasZero(word^'\\'*ones) {
			return 0, false
		}
		text = text[8:]
	}
	for _, c := range text {
		if c < ' ' || c == '\\' {
			return 0, false
		}
	}
	return n + 2, true
}

// Eight bytes at once, as in "Bit Twiddling Hacks" (S. E. Anderson).
const ones = 0x0101010101010101

func hasZero(w uint64) bool          { return (w-ones)&^w&(0x80*ones) != 0 }
func hasBelow(w uint64, c byte) bool { return (w-ones*uint64(c))&^w&(0x80*ones) != 0 }

// skipInteger leaves what follows the digits to the caller: after a point or an
// exponent it finds no end of a value there.
func skipInteger(b []byte) (end int, ok bool) {
	i := 0
	if b[0] == '-' {
		i++
	}
	digits := i
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i, i > digits && (b[digits] != '0' || i == digits+1)
}

// skipList skips an object or an array.
func skipList(b []byte, closing byte, depth int) (end int, ok bool) {
	if len(b) > 1 && b[1] == closing {
		return 2, true
	}
	for i := 1; ; i++ { // behind the opening, or a comma
		if closing == '}' {
			if i >= len(b) || b[i] != '"' {
				return 0, false
			}
			n, ok := skipText(b[i:])
			if i += n; !ok || i >= len(b) || b[i] != ':' {
				return 0, false
			}
			i++
		}
		if i >= len(b) {
			return 0, false
		}
		n, ok := skipPlain(b[i:], depth-1)
		if i += n; !ok || i >= len(b) {
			return 0, false
		}
		if b[i] == closing {
			return i + 1, true
		}
		if b[i] != ',' {
			return 0, false
		}
	}
}
