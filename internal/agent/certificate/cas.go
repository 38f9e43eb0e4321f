package certificate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/agent/journal"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/sshctx"
)

// Documents are the agent's files; *state.Dir implements it.
type Documents interface {
	Get(name string) ([]byte, error)
	Put(name string, b []byte) error
	SetAside(name string, now time.Time) (string, error)
}

const (
	documentCAs = "trusted-cas.json"
	casVersion  = 1
	warningCAs  = "cas"
)

// CAs are the CAs that phones are known by. The one that a phone has when it is
// paired is pinned; another one, or a first one later, is refused until the user
// confirms it: whoever has got hold of the phone's device key could come with a CA
// of their own.
type CAs struct {
	docs    Documents
	paired  func(device.ID) error // why the phone is not paired; nil: it is
	journal *journal.Journal
	log     *slog.Logger

	saving sync.Mutex // orders the writes of the document; taken before mu

	mu sync.Mutex
	pins
	offered map[device.ID][]byte // the CA of today, where it is not accepted
}

// pins are what is written down.
type pins struct {
	accepted map[device.ID][]byte // blobs
	// fresh are phones that have been paired and not said yet whether they have
	// a CA.
	fresh map[device.ID]bool
}

type casDocument struct {
	Version int         `json:"version"`
	CAs     []caOfPhone `json:"cas"`
	Fresh   []device.ID `json:"fresh,omitempty"`
}

type caOfPhone struct {
	DeviceID  device.ID `json:"deviceID"`
	PublicKey []byte    `json:"publicKey"`
}

// OpenCAs reads the pins. When they are damaged every phone's CA has to be confirmed:
// silently taking the next one is what an attacker would want. paired returns nil of
// a phone that is paired, else an error.
func OpenCAs(docs Documents, paired func(device.ID) error, j *journal.Journal, log *slog.Logger) (*CAs, error) {
	c := &CAs{
		docs: docs, paired: paired, journal: j, log: log,
		pins: pins{accepted: map[device.ID][]byte{}, fresh: map[device.ID]bool{}}, offered: map[device.ID][]byte{},
	}
	b, err := docs.Get(documentCAs)
	if err != nil {
		return nil, fmt.Errorf("read the trusted CAs: %w", err)
	}
	if b == nil {
		return c, nil
	}
	var doc casDocument
	if err := json.Unmarshal(b, &doc); err == nil && doc.Version == casVersion {
		for _, ca := range doc.CAs {
			c.accepted[ca.DeviceID] = ca.PublicKey
		}
		for _, id := range doc.Fresh {
			c.fresh[id] = true
		}
		return c, nil
	}
	aside, err := docs.SetAside(documentCAs, time.Now())
	if err != nil {
		return nil, fmt.Errorf("set the damaged list of CAs aside: %w", err)
	}
	j.Warn(warningCAs, fmt.Sprintf("The list of trusted CAs was damaged and is set aside as %s. Confirm each phone's CA again.", aside))
	return c, nil
}

// errCAChanged refuses a CA that the user has not confirmed.
func errCAChanged(phone string, accepted, blob []byte) error {
	what := "%s has another CA than before: %s."
	if len(accepted) == 0 {
		what = "%s has a CA that it did not have when it was paired: %s."
	}
	return control.Errorf(control.CodeCAChanged,
		"compare the fingerprint with the phone's, then confirm it: `vmux ca accept`",
		what, phone, sshctx.Fingerprint(blob))
}

// Of returns the blob of the CA that a phone is known by, and of the one that it
// has now where the user has not confirmed that; nil: none.
func (c *CAs) Of(phone device.ID) (accepted, offered []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.accepted[phone], c.offered[phone]
}

// unconfirmed fails while a phone uses a CA that the user has not confirmed.
func (c *CAs) unconfirmed(phone device.Peer) error {
	if accepted, offered := c.Of(phone.ID); len(offered) > 0 {
		return errCAChanged(phone.Name.String(), accepted, offered)
	}
	return nil
}

// Expect has the CA of a phone that has just been paired pinned: pairing is the
// moment at which the user vouches for the phone.
func (c *CAs) Expect(phone device.ID) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	return c.save(func(p *pins) {
		if len(p.accepted[phone]) == 0 {
			p.fresh[phone] = true
		}
	})
}

// Check compares the CA that a phone tells of with the one that it is known by. It
// pins that of a phone that has just been paired, and refuses another one. An empty
// blob is none: one that the phone has later needs the user's word. Check waits for
// the disk: a pin that is forgotten at the next start is none.
func (c *CAs) Check(phone device.Peer, blob []byte) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	accepted, fresh := c.accepted[phone.ID], c.fresh[phone.ID]
	c.mu.Unlock()
	if len(blob) == 0 {
		if !fresh {
			return nil
		}
		return c.save(func(p *pins) { delete(p.fresh, phone.ID) })
	}
	if err := c.paired(phone.ID); err != nil { // unpaired meanwhile: see Forget
		return fmt.Errorf("CA of a phone: %w", err)
	}
	switch {
	case len(accepted) > 0 && bytes.Equal(accepted, blob):
		c.offer(phone.ID, nil, "")
		return nil
	case len(accepted) > 0 || !fresh:
		err := errCAChanged(phone.Name.String(), accepted, blob)
		c.offer(phone.ID, blob, err.Error())
		return err
	}
	return c.pin(phone.ID, blob)
}

// offer notes the CA of a phone that has to be confirmed; nil: none has.
func (c *CAs) offer(phone device.ID, blob []byte, warning string) {
	c.mu.Lock()
	if c.offered[phone] = blob; blob == nil {
		delete(c.offered, phone)
	}
	c.mu.Unlock()
	c.journal.Warn(warningCAs+phone.String(), warning)
}

// pin accepts a CA. The caller holds saving.
func (c *CAs) pin(phone device.ID, blob []byte) error {
	err := c.save(func(p *pins) {
		p.accepted[phone] = blob
		delete(p.fresh, phone)
	})
	if err == nil {
		c.offer(phone, nil, "")
	}
	return err
}

// save writes changed pins, then uses them. The caller holds saving.
func (c *CAs) save(change func(*pins)) error {
	c.mu.Lock()
	next := pins{accepted: maps.Clone(c.accepted), fresh: maps.Clone(c.fresh)}
	c.mu.Unlock()
	change(&next)
	doc := casDocument{Version: casVersion, CAs: []caOfPhone{}, Fresh: slices.SortedFunc(maps.Keys(next.fresh), device.ID.Compare)}
	for _, id := range slices.SortedFunc(maps.Keys(next.accepted), device.ID.Compare) {
		doc.CAs = append(doc.CAs, caOfPhone{id, next.accepted[id]})
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err == nil {
		err = c.docs.Put(documentCAs, b)
	}
	if err != nil {
		c.journal.Warn(journal.WarningDisk, "The agent cannot write its state: "+err.Error())
		return fmt.Errorf("keep the trusted CAs: %w", err)
	}
	c.mu.Lock()
	c.pins = next
	c.mu.Unlock()
	c.journal.Change()
	return nil
}

// Forget ends what is known of a phone's CA. The phone must not be paired any more:
// else it could be met again at once.
func (c *CAs) Forget(phone device.ID) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	err := c.save(func(p *pins) { delete(p.accepted, phone); delete(p.fresh, phone) })
	c.offer(phone, nil, "")
	return err
}

// Show returns a phone's CA, that of today if it has to be confirmed; false: it has
// none.
func (c *CAs) Show(phone device.Peer) (control.CA, bool) {
	blob, offered := c.Of(phone.ID)
	ca := control.CA{DeviceID: phone.ID.String(), Phone: phone.Name.String(), Confirmed: len(offered) == 0}
	if !ca.Confirmed {
		if len(blob) > 0 {
			ca.Previous = sshctx.Fingerprint(blob)
		}
		blob = offered
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return ca, false
	}
	ca.Line, ca.Fingerprint = sshctx.AuthorizedLine(key), sshctx.Fingerprint(blob)
	return ca, true
}

// Accept confirms the CA that a phone has today; where a fingerprint is given, that
// one only.
func (c *CAs) Accept(phone device.Peer, fingerprint string) (control.CA, error) {
	ca, ok := c.Show(phone)
	switch {
	case !ok:
		return ca, control.Errorf(control.CodeNoCA, "create one on the phone: `vmux phone ca create`", "%s has no CA.", phone.Name)
	case fingerprint != "" && fingerprint != ca.Fingerprint:
		return ca, control.Errorf(control.CodeInvalid, "run `vmux ca`", "The CA of %s is %s.", phone.Name, ca.Fingerprint)
	case ca.Confirmed:
		return ca, nil
	}
	c.saving.Lock()
	defer c.saving.Unlock()
	if err := c.paired(phone.ID); err != nil {
		return ca, fmt.Errorf("CA of a phone: %w", err)
	}
	_, offered := c.Of(phone.ID)
	if sshctx.Fingerprint(offered) != ca.Fingerprint {
		return ca, control.Errorf(control.CodeCAChanged, "run `vmux ca` again", "The CA of %s has just changed again.", phone.Name)
	}
	if err := c.pin(phone.ID, offered); err != nil {
		return ca, err
	}
	c.log.Info("CA accepted", "phone", phone.ID.Short(), "ca", ca.Fingerprint)
	ca.Confirmed, ca.Previous = true, ""
	return ca, nil
}
