package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// caPins are the CAs that phones are known by. The one that a phone has when it is
// paired is pinned; another one, or a first one later, is refused until the user
// confirms it: whoever has got hold of the phone's device key could come with a CA
// of their own.
type caPins struct {
	accepted map[device.ID][]byte // blobs
	// fresh are phones that have been paired and not said yet whether they have
	// a CA.
	fresh   map[device.ID]bool
	offered map[device.ID][]byte // the CA of today, where it is not accepted
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

// loadCAs reads the pins. When they are damaged every phone's CA has to be confirmed:
// silently taking the next one is what an attacker would want.
func loadCAs(d documents, now time.Time) (caPins, string, error) {
	p := caPins{accepted: map[device.ID][]byte{}, fresh: map[device.ID]bool{}, offered: map[device.ID][]byte{}}
	b, err := d.Get(documentCAs)
	if err != nil {
		return p, "", fmt.Errorf("read the trusted CAs: %w", err)
	}
	if b == nil {
		return p, "", nil
	}
	var doc casDocument
	if err := json.Unmarshal(b, &doc); err == nil && doc.Version == cacheVersion {
		for _, c := range doc.CAs {
			p.accepted[c.DeviceID] = c.PublicKey
		}
		for _, id := range doc.Fresh {
			p.fresh[id] = true
		}
		return p, "", nil
	}
	aside, err := d.SetAside(documentCAs, damagedSuffix(now))
	if err != nil {
		return p, "", fmt.Errorf("set the damaged list of CAs aside: %w", err)
	}
	return p, fmt.Sprintf("The list of trusted CAs was damaged and is set aside as %s. Confirm each phone's CA again.", aside), nil
}

func (p *caPins) encode() ([]byte, error) {
	doc := casDocument{Version: cacheVersion, CAs: []caOfPhone{}, Fresh: slices.SortedFunc(maps.Keys(p.fresh), device.ID.Compare)}
	for _, id := range slices.SortedFunc(maps.Keys(p.accepted), device.ID.Compare) {
		doc.CAs = append(doc.CAs, caOfPhone{id, p.accepted[id]})
	}
	return json.MarshalIndent(doc, "", "  ")
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

// refuseOfferedCA fails while a phone uses a CA that the user has not confirmed.
func (a *Agent) refuseOfferedCA(phone device.Peer) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if blob := a.cas.offered[phone.ID]; len(blob) > 0 {
		return errCAChanged(phone.Name, a.cas.accepted[phone.ID], blob)
	}
	return nil
}

// expectCA has the CA of a phone that has just been paired pinned: pairing is the
// moment at which the user vouches for the phone.
func (a *Agent) expectCA(phone device.ID) error {
	a.saving.Lock()
	defer a.saving.Unlock()
	return a.saveCAs(func(p *caPins) {
		if len(p.accepted[phone]) == 0 {
			p.fresh[phone] = true
		}
	})
}

// hasNoCA notes that a phone has none: one that it has later needs the user's word.
func (a *Agent) hasNoCA(phone device.ID) error {
	a.saving.Lock()
	defer a.saving.Unlock()
	a.mu.Lock()
	fresh := a.cas.fresh[phone]
	a.mu.Unlock()
	if !fresh {
		return nil
	}
	return a.saveCAs(func(p *caPins) { delete(p.fresh, phone) })
}

// meetCA pins the CA of a phone that has just been paired and refuses another one.
// It waits for the disk: a pin that is forgotten at the next start is none.
func (a *Agent) meetCA(phone device.ID, name string, blob []byte) error {
	a.saving.Lock()
	defer a.saving.Unlock()
	if _, err := a.trust.Get(phone); err != nil { // unpaired meanwhile: see forget
		return fmt.Errorf("CA of a phone: %w", err)
	}
	a.mu.Lock()
	accepted, fresh := a.cas.accepted[phone], a.cas.fresh[phone]
	switch {
	case len(accepted) > 0 && bytes.Equal(accepted, blob):
		delete(a.cas.offered, phone)
		a.journal.Warn(warningCAs+phone.String(), "")
		a.mu.Unlock()
		return nil
	case len(accepted) > 0 || !fresh:
		err := errCAChanged(name, accepted, blob)
		a.cas.offered[phone] = blob
		a.journal.Warn(warningCAs+phone.String(), err.Error())
		a.mu.Unlock()
		return err
	}
	a.mu.Unlock()
	return a.pinCA(phone, blob)
}

// pinCA accepts a CA. The caller holds saving.
func (a *Agent) pinCA(phone device.ID, blob []byte) error {
	return a.saveCAs(func(p *caPins) {
		p.accepted[phone] = blob
		delete(p.fresh, phone)
	})
}

// saveCAs writes changed pins, then uses them. The caller holds saving.
func (a *Agent) saveCAs(change func(*caPins)) error {
	a.mu.Lock()
	next := caPins{accepted: maps.Clone(a.cas.accepted), fresh: maps.Clone(a.cas.fresh)}
	a.mu.Unlock()
	change(&next)
	b, err := next.encode()
	if err != nil {
		return fmt.Errorf("keep the trusted CAs: %w", err)
	}
	if err := a.docs.Put(documentCAs, b); err != nil {
		a.journal.Warn(warningDisk, "The agent cannot write its state: "+err.Error())
		return fmt.Errorf("keep the trusted CAs: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cas.accepted, a.cas.fresh = next.accepted, next.fresh
	for id := range a.cas.offered {
		if bytes.Equal(a.cas.offered[id], next.accepted[id]) {
			delete(a.cas.offered, id)
			a.journal.Warn(warningCAs+id.String(), "")
		}
	}
	a.journal.Change()
	return nil
}

// CA implements control.Service.
func (a *Agent) CA() ([]control.CA, error) {
	peers, err := a.trust.Peers()
	if err != nil {
		return nil, err
	}
	list := []control.CA{}
	for _, p := range peers {
		if ca, ok := a.caOf(p); ok {
			list = append(list, ca)
		}
	}
	return list, nil
}

func (a *Agent) caOf(p device.Peer) (control.CA, bool) {
	a.mu.Lock()
	accepted, offered := a.cas.accepted[p.ID], a.cas.offered[p.ID]
	a.mu.Unlock()
	ca := control.CA{DeviceID: p.ID.String(), Phone: p.Name, Confirmed: len(offered) == 0}
	blob := accepted
	if len(offered) > 0 {
		blob = offered
		if len(accepted) > 0 {
			ca.Previous = sshctx.Fingerprint(accepted)
		}
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return ca, false
	}
	ca.Line, ca.Fingerprint = authorizedLine(key), sshctx.Fingerprint(blob)
	return ca, true
}

// AcceptCA implements control.Service. It ends the hold on automatic issuance,
// since the user has spoken.
func (a *Agent) AcceptCA(name, fingerprint string) (control.CA, error) {
	p, err := a.find(name)
	if err != nil {
		return control.CA{}, err
	}
	ca, ok := a.caOf(p)
	switch {
	case !ok:
		return ca, control.Errorf(control.CodeNoCA, "create one on the phone: `vmux phone ca create`", "%s has no CA.", p.Name)
	case fingerprint != "" && fingerprint != ca.Fingerprint:
		return ca, control.Errorf(control.CodeInvalid, "run `vmux ca`", "The CA of %s is %s.", p.Name, ca.Fingerprint)
	case ca.Confirmed:
		return ca, nil
	}
	a.saving.Lock()
	a.mu.Lock()
	blob := a.cas.offered[p.ID]
	a.mu.Unlock()
	if _, err = a.trust.Get(p.ID); err != nil {
		err = fmt.Errorf("CA of a phone: %w", err)
	} else if sshctx.Fingerprint(blob) != ca.Fingerprint {
		err = control.Errorf(control.CodeCAChanged, "run `vmux ca` again", "The CA of %s has just changed again.", p.Name)
	} else {
		err = a.pinCA(p.ID, blob)
	}
	a.saving.Unlock()
	if err != nil {
		return ca, err
	}
	a.log.Info("CA accepted", "phone", p.ID.Short(), "ca", ca.Fingerprint)
	ca.Confirmed, ca.Previous = true, ""
	a.considerRenewal()
	return ca, nil
}

// find returns the paired device that the user names.
func (a *Agent) find(name string) (device.Peer, error) {
	p, err := a.trust.Find(name)
	switch {
	case errors.Is(err, device.ErrNotPaired):
		return p, control.Errorf(control.CodeNoSuchDevice, "see `vmux devices`", "No paired device %s.", wire.Show(name))
	case errors.Is(err, device.ErrAmbiguous):
		return p, control.Errorf(control.CodeNoSuchDevice, "see `vmux devices`", "%s names more than one device.", wire.Show(name))
	}
	return p, err
}
