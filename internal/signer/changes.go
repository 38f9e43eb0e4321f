package signer

import (
	"cmp"
	"strings"
	"time"

	"vmux/internal/signer/activity"
	"vmux/internal/wire"
)

// keyRecord is the record of a change of an identity; what says what it is now.
func keyRecord(id Identity, decision, what string) *activity.Record {
	return &activity.Record{Kind: activity.KindKey, Decision: decision, Label: wire.Clean(id.Label), Key: id.Fingerprint(), What: wire.Clean(what)}
}

func caRecord(ca CA, decision, what string) activity.Record {
	id := ca.identity()
	return activity.Record{Kind: activity.KindCA, Decision: decision, Label: wire.Clean(id.Label), Key: id.Fingerprint(), What: wire.Clean(what)}
}

// changeOf says in words what is different.
func (r Rules) changeOf(before Rules) string {
	var c changes
	c.list("hosts", before.Hosts, r.Hosts, "any")
	c.text("old servers", yesNo(before.OldServers), yesNo(r.OldServers), "")
	c.list("users", before.Users, r.Users, "any")
	c.list("namespaces", before.Namespaces, r.Namespaces, "any")
	c.list("forbidden", before.Forbid, r.Forbid, "nothing")
	c.text("hours", before.Hours, r.Hours, "any")
	return strings.Join(c, "; ")
}

func (p Policy) changeOf(before Policy) string {
	var c changes
	c.list("principals", before.Principals, p.Principals, "none")
	c.list("extensions", before.Extensions, p.Extensions, "none")
	c.list("source addresses", before.SourceAddress, p.SourceAddress, "any")
	c.text("forced command", before.ForceCommand, p.ForceCommand, "none")
	c.text("longest validity", seconds(before.MaxValiditySeconds), seconds(p.MaxValiditySeconds), "")
	c.text("issued unasked", yesNo(before.AutomaticIssuance), yesNo(p.AutomaticIssuance), "")
	return strings.Join(c, "; ")
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
