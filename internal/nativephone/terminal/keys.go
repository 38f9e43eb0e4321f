package terminal

import "time"

const escape = 0x1b

// keys finds the keys that are characters among what a terminal sends. Arrows and function
// keys, clicks, what is pasted, and what the terminal answers to programs come as sequences
// that end in or contain letters: the right arrow ends in C, and Home in H. None of these is
// an answer that somebody gave.
type keys struct {
	in   sequence
	left int // bytes until its end, if that is known
	last time.Time
}

// sequence is what the next byte is part of.
type sequence int

const (
	none      sequence = iota
	escaped            // after ESC
	controls           // after ESC [ : ECMA-48, 5.4
	inside             // the same, after its first byte
	counted            // until left is 0
	statement          // after ESC ] and the like, until BEL, ESC \ or Enter: ECMA-48, 5.6
)

// only keeps of b, in place, the characters, and an ESC for each sequence that begins. One
// that is not ended within the silence is none: somebody has typed its beginning.
func (k *keys) only(b []byte) []byte {
	if len(b) > 0 {
		if time.Since(k.last) > silence {
			k.in = none
		}
		k.last = time.Now()
	}
	kept := b[:0]
	for _, c := range b {
		if k.counts(c) {
			kept = append(kept, c)
		}
	}
	clear(b[len(kept):])
	return kept
}

// counts takes the next byte, and reports whether it is kept.
func (k *keys) counts(c byte) bool {
	in := k.in
	switch k.in = none; {
	case c == escape:
		k.in = escaped
		return in == none
	case c == '\r' || c == '\n':
		return true
	case in == escaped:
		return k.begins(c)
	case in == controls && c == '[': // function keys of the Linux console, ESC [ [ A
		k.in, k.left = counted, 1
	case in == controls && c == 'M': // a click as in xterm's first protocol, button and place
		k.in, k.left = counted, 3
	case in == controls || in == inside:
		if c < 0x40 {
			k.in = inside
		}
	case in == counted:
		if k.left--; k.left > 0 {
			k.in = counted
		}
	case in == statement:
		if c != '\a' {
			k.in = statement
		}
	default:
		return true
	}
	return false
}

// begins takes the byte after ESC. One that begins no sequence was typed after the key
// Esc, or with Alt held.
func (k *keys) begins(c byte) bool {
	switch c {
	case '[':
		k.in = controls
	case 'O':
		k.in, k.left = counted, 1
	case ']', 'P', 'X', '^', '_':
		k.in = statement
	case '\\': // the end of a statement
	default:
		return true
	}
	return false
}
