package policy

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"vmux/internal/wire"
)

// InputError tells that what a person has given cannot be: a wrong label, rule,
// principal or size. Nothing was changed.
type InputError struct{ text string }

// Error says what is wrong, and what would be right.
func (e *InputError) Error() string { return e.text }

// Invalid returns an *InputError.
func Invalid(format string, args ...any) error {
	return &InputError{fmt.Sprintf(format, args...)}
}

// CheckPrincipals reports why these cannot be the principals of a certificate.
func CheckPrincipals(list []string) error {
	if len(list) > wire.MaxPrincipals {
		return Invalid("over %d principals", wire.MaxPrincipals)
	}
	for _, p := range list {
		if p == "" || len(p) > wire.MaxNameSize || !wire.Printable(p) || strings.ContainsAny(p, ", \t") {
			return Invalid("not a principal: %q", p)
		}
	}
	return nil
}

// PrincipalsChange says in words what becomes of an identity's principals, "" if it is
// nothing.
func PrincipalsChange(before, now []string) string {
	var c changes
	c.list("principals", before, now, "those of the CA")
	return strings.Join(c, "")
}

func seconds(n int64) string { return (time.Duration(n) * time.Second).String() }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// changes are the parts that are different, and what they are now.
type changes []string

func (c *changes) list(name string, before, now []string, empty string) {
	c.text(name, strings.Join(before, ","), strings.Join(now, ","), empty)
}

func (c *changes) text(name, before, now, empty string) {
	if before != now {
		*c = append(*c, name+" "+cmp.Or(now, empty))
	}
}
