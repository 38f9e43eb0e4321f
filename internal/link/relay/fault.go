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

// mute is for a WebSocket that was opened, and through which the hub has not been heard,
// which speaks first: virus scanners and companies' proxies hold its messages back
// (socketio/engine.io#123, boostorg/beast#2937).
func mute(cause error) *Fault {
	return &Fault{
		text:  "the WebSocket was opened, and the hub's messages do not come through it",
		hint:  "a virus scanner, a company's proxy or the proxy before the hub holds it back: let that pass WebSockets on as they come",
		cause: cause,
	}
}
