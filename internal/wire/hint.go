package wire

import "errors"

// Hinter is an error that knows what to do about it: a command, or a short
// sentence. The hint is no part of the error's text; who tells a person of the
// error asks for it by HintOf.
type Hinter interface {
	error
	Hint() string
}

type hinted struct {
	error
	hint string
}

func (h *hinted) Hint() string { return h.hint }

func (h *hinted) Unwrap() error { return h.error }

// WithHint adds to an error what to do about it, in place of a hint that it has.
func WithHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &hinted{err, hint}
}

// HintOf returns the hint that stands nearest to the error's surface, "" if there
// is none.
func HintOf(err error) string {
	if h, ok := errors.AsType[Hinter](err); ok {
		return h.Hint()
	}
	return ""
}
