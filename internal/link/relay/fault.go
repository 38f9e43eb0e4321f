package relay

// Fault is why there is no connection to the hub, in words for people, and what
// they can do about it.
type Fault struct {
	text  string
	hint  string
	cause error
}

// Error implements error.
func (f *Fault) Error() string { return f.text }

// Hint says what to do, in words for people; empty if nothing is known.
func (f *Fault) Hint() string { return f.hint }

// Unwrap returns what it was concluded from.
func (f *Fault) Unwrap() error { return f.cause }
