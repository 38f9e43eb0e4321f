package sshctx

import "encoding/binary"

// reader takes SSH data types (RFC 4251 section 5) from the front of rest. After
// the first failure it returns zero values and done reports false.
type reader struct {
	rest   []byte
	failed bool
}

// take returns the next n bytes, nil if there are not so many.
func (r *reader) take(n uint32) []byte {
	if r.failed || uint64(n) > uint64(len(r.rest)) {
		r.failed = true
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) bytes() []byte { return r.take(r.uint32()) }

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) done() bool { return !r.failed && len(r.rest) == 0 }

// AppendString appends a string of RFC 4251 section 5.
func AppendString[S ~string | ~[]byte](b []byte, s S) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
