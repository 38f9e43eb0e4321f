package signer

import "fmt"

// InputError tells that what a person has given cannot be: a wrong label, rule,
// principal or size. Nothing was changed.
type InputError struct{ text string }

// Error says what is wrong, and what would be right.
func (e *InputError) Error() string { return e.text }

func badInput(format string, args ...any) error {
	return &InputError{fmt.Sprintf(format, args...)}
}
