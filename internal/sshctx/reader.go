package sshctx

import "encoding/binary"

// reader takes SSH data types (RFC 4251 section 5) from the front of rest. After
// the first failure it returns zero values and done reports false.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) byte() byte {
	if r.failed || len(r.rest) == 0 {
		r.failed = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) bytes() []byte {
	if r.failed || len(r.rest) < 4 {
		r.failed = true
		return nil
	}
	n := binary.BigEndian.Uint32(r.rest)
	if uint64(n) > uint64(len(r.rest)-4) {
		r.failed = true
		return nil
	}
	s := r.rest[4 : 4+n : 4+n]
	r.rest = r.rest[4+n:]
	return s
}

func (r *reader) skip(n int) {
	if r.failed || len(r.rest) < n {
		r.failed = true
		return
	}
	r.rest = r.rest[n:]
}

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) done() bool { return !r.failed && len(r.rest) == 0 }

// AppendString appends a string of RFC 4251 section 5.
func AppendString[S ~string | ~[]byte](b []byte, s S) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
