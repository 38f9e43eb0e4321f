package signer

import (
	"cmp"
	"strings"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// Decisions of records that are no requests: what was done on the phone. A key
// ("key", "ca") is created, imported, added (it stays in another agent), exported,
// deleted, renamed, enabled, disabled or the default, or what it may do is changed. A
// computer ("pairing") is paired or unpaired. Grants are enabled or disabled.
const (
	DecisionCreated  = "created"
	DecisionImported = "imported"
	DecisionAdded    = "added"
	DecisionExported = "exported"
	DecisionDeleted  = "deleted"
	DecisionRenamed  = "renamed"
	DecisionEnabled  = "enabled"
	DecisionDisabled = "disabled"
	DecisionDefault  = "default"
	DecisionChanged  = "changed"
	DecisionPaired   = "paired"
	DecisionUnpaired = "unpaired"
)

// keyRecord is the record of a change of an identity; what says what it is now.
func keyRecord(id Identity, decision, what string) *Record {
	return &Record{Kind: kindKey, Decision: decision, Label: wire.Clean(id.Label), Key: id.Fingerprint(), What: wire.Clean(what)}
}

func caRecord(ca CA, decision, what string) Record {
	id := ca.identity()
	return Record{Kind: kindCA, Decision: decision, Label: wire.Clean(id.Label), Key: id.Fingerprint(), What: wire.Clean(what)}
}

// Paired records that a computer was paired with this phone, or unpaired: the phone's
// trust store is its own.
func (s *Signer) Paired(computer device.Peer) error {
	return s.record(pairingRecord(computer, DecisionPaired))
}

// Unpaired records the end of a pairing; by whom, if not by this phone's person.
func (s *Signer) Unpaired(computer device.Peer, by string) error {
	r := pairingRecord(computer, DecisionUnpaired)
	r.What = wire.Clean(by)
	return s.record(r)
}

func pairingRecord(computer device.Peer, decision string) Record {
	return Record{Kind: kindPairing, Decision: decision, DeviceID: computer.ID.String(), DeviceName: computer.Name}
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
