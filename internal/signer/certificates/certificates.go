// Package certificates is the list of the session certificates that the phone has issued,
// and what follows from one that is revoked.
package certificates

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/signer/activity"
	"vmux/internal/signer/documents"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

const (
	// document has a line of JSON for each certificate, oldest first: to issue
	// one need not decode all those before it.
	document  = "certificates.jsonl"
	maxIssued = 4096
	// memory is how long a certificate is remembered after its end.
	memory = 30 * 24 * time.Hour
)

// ErrNoCertificate is returned for a serial that this phone did not issue, or
// has forgotten.
var ErrNoCertificate = errors.New("no such certificate")

// Issued is a session certificate that this phone has issued.
type Issued struct {
	Serial     string    `json:"serial"` // decimal
	DeviceID   device.ID `json:"deviceID"`
	DeviceName wire.Text `json:"deviceName"`
	Label      wire.Text `json:"label"`    // of the identity that it stands for
	Identity   string    `json:"identity"` // fingerprint
	CA         []byte    `json:"ca"`       // blob of the CA's public key
	Principals []string  `json:"principals"`
	IssuedAt   time.Time `json:"issuedAt"`
	ValidAfter time.Time `json:"validAfter"`
	ValidUntil time.Time `json:"validUntil"`
	RevokedAt  time.Time `json:"revokedAt,omitzero"`
}

// Revoked reports whether the certificate was revoked.
func (i Issued) Revoked() bool { return !i.RevokedAt.IsZero() }

// List are the certificates. Safe for concurrent use.
type List struct {
	store documents.Store
	now   func() time.Time
	log   *activity.Log

	mu sync.Mutex // held while the document changes
}

// New returns the certificates that rest in the store.
func New(store documents.Store, now func() time.Time, log *activity.Log) *List {
	return &List{store: store, now: now, log: log}
}

var errDamaged = errors.New("load certificates: the document is damaged")

// All returns those that this phone has issued, oldest first.
func (l *List) All() ([]Issued, error) {
	lines, err := l.lines()
	if err != nil {
		return nil, err
	}
	var list []Issued
	for line := range bytes.Lines(lines) {
		var i Issued
		if json.Unmarshal(line, &i) != nil {
			return nil, errDamaged
		}
		list = append(list, i)
	}
	return list, nil
}

func (l *List) lines() ([]byte, error) {
	lines, err := l.store.Get(document)
	if err != nil {
		return nil, fmt.Errorf("load certificates: %w", err)
	}
	return lines, nil
}

func (l *List) put(lines []byte) error {
	if err := l.store.Put(document, lines); err != nil {
		return fmt.Errorf("save certificates: %w", err)
	}
	return nil
}

// Note remembers a certificate before it is given out: one that the phone does not
// know could not be revoked. It stands for an identity, with its label and fingerprint.
func (l *List) Note(cert *ssh.Certificate, to device.Peer, label wire.Text, fingerprint string) error {
	now := l.now().UTC()
	line, err := json.Marshal(Issued{
		Serial: strconv.FormatUint(cert.Serial, 10), DeviceID: to.ID, DeviceName: to.Name,
		Label: label, Identity: fingerprint, CA: cert.SignatureKey.Marshal(),
		Principals: cert.ValidPrincipals, IssuedAt: now,
		ValidAfter: time.Unix(int64(cert.ValidAfter), 0).UTC(), ValidUntil: time.Unix(int64(cert.ValidBefore), 0).UTC(),
	})
	if err != nil {
		return fmt.Errorf("encode certificate: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lines, err := l.lines()
	if err == nil {
		lines, err = forget(lines, now)
	}
	if err != nil {
		return err
	}
	return l.put(slices.Concat(lines, line, []byte{'\n'}))
}

// forget leaves out the oldest, those that ended long ago, and leaves room
// for one more. What was issued before one that still counts is kept with it.
func forget(lines []byte, now time.Time) ([]byte, error) {
	for n := bytes.Count(lines, []byte{'\n'}); n > 0; n-- {
		oldest, newer, _ := bytes.Cut(lines, []byte{'\n'})
		var i Issued
		if json.Unmarshal(oldest, &i) != nil {
			return nil, errDamaged
		}
		if n < maxIssued && now.Sub(i.ValidUntil) <= memory {
			break
		}
		lines = newer
	}
	return lines, nil
}

// Revoke revokes the certificates that match says, and returns them. Computers
// learn of it at once, or as soon as they connect; servers by the KRL alone.
func (l *List) Revoke(match func(Issued) bool) ([]Issued, error) {
	revoked, err := l.revoke(match)
	for _, i := range revoked {
		err = errors.Join(err, l.log.Write(revocation(i, "")))
	}
	return revoked, err
}

func (l *List) revoke(match func(Issued) bool) (revoked []Issued, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, err := l.All()
	if err != nil {
		return nil, err
	}
	for n := range list {
		if match(list[n]) && !list[n].Revoked() {
			list[n].RevokedAt = l.now().UTC()
			revoked = append(revoked, list[n])
		}
	}
	if len(revoked) == 0 {
		return nil, ErrNoCertificate
	}
	if err := l.save(list); err != nil {
		return nil, err
	}
	return revoked, nil
}

// maxCarried bounds what another phone takes over. Those that are revoked come first.
const maxCarried = 1024

// Carried are those that a phone has to know which takes this one's place: what is not
// known could not be revoked, and what is revoked stays so.
func (l *List) Carried() ([]Issued, error) {
	list, err := l.All()
	list = slices.DeleteFunc(list, func(i Issued) bool { return !l.now().Before(i.ValidUntil) })
	if len(list) > maxCarried {
		revoked, rest := slices.Clone(list), list
		revoked = slices.DeleteFunc(revoked, func(i Issued) bool { return !i.Revoked() })
		rest = slices.DeleteFunc(rest, Issued.Revoked)
		list = append(latest(rest, maxCarried-min(len(revoked), maxCarried)), latest(revoked, maxCarried)...)
		slices.SortStableFunc(list, func(a, b Issued) int { return a.IssuedAt.Compare(b.IssuedAt) })
	}
	return list, err
}

func latest(list []Issued, n int) []Issued { return list[max(0, len(list)-n):] }

// Merge adds what another phone has carried, if save is set, and returns how many
// certificates are new here, how many are revoked that were not, and what undoes it. It
// takes no revocation back: an older backup does not make good what was revoked since.
func (l *List) Merge(carried []Issued, from string, save bool) (added, revoked int, undo func() error, err error) {
	if len(carried) > maxCarried {
		return 0, 0, nil, errDamaged
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before, err := l.All()
	if err != nil {
		return 0, 0, nil, err
	}
	list, changed := slices.Clone(before), []Issued{}
	for _, c := range carried {
		if _, err := strconv.ParseUint(c.Serial, 10, 64); err != nil || len(c.CA) == 0 || len(c.CA) > wire.MaxBlobSize || len(c.Principals) > maxPrincipals {
			return 0, 0, nil, errDamaged
		}
		n := slices.IndexFunc(list, c.is)
		switch now := l.now(); {
		case !now.Before(c.ValidUntil) || c.ValidUntil.Sub(now) > farthest:
			continue
		case n < 0:
			added++
			list = append(list, c)
		case c.Revoked() && !list[n].Revoked():
			list[n].RevokedAt = c.RevokedAt
		default:
			continue
		}
		if changed = append(changed, c); c.Revoked() {
			revoked++
		}
	}
	if len(changed) == 0 || !save {
		return added, revoked, nil, nil
	}
	for _, c := range changed {
		if c.Revoked() {
			if err := l.log.Write(revocation(c, from)); err != nil {
				return 0, 0, nil, err
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Issued) int { return a.IssuedAt.Compare(b.IssuedAt) })
	return added, revoked, func() error { return l.takeBack(before, changed) }, l.save(latest(list, maxIssued))
}

// farthest is further away than the end of any certificate that a phone issues.
const farthest = 30 * 24 * time.Hour

// maxPrincipals is more than a policy allows.
const maxPrincipals = 1024

// is reports whether the two are one certificate.
func (i Issued) is(other Issued) bool { return i.Serial == other.Serial && bytes.Equal(i.CA, other.CA) }

// takeBack undoes Merge, but for what was issued meanwhile.
func (l *List) takeBack(before, changed []Issued) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, err := l.All()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(i Issued) bool { return slices.ContainsFunc(changed, i.is) })
	for _, b := range before {
		if slices.ContainsFunc(changed, b.is) {
			list = append(list, b)
		}
	}
	if len(list) == 0 {
		return l.store.Delete(document)
	}
	slices.SortStableFunc(list, func(a, b Issued) int { return a.IssuedAt.Compare(b.IssuedAt) })
	return l.save(list)
}

func (l *List) save(list []Issued) error {
	var lines []byte
	for _, i := range list {
		line, err := json.Marshal(i)
		if err != nil {
			return fmt.Errorf("encode certificate: %w", err)
		}
		lines = append(append(lines, line...), '\n')
	}
	return l.put(lines)
}

// revocation is the record of one; what says how it came about, if not here.
func revocation(i Issued, what string) activity.Record {
	return activity.Record{Kind: "revocation", DeviceID: i.DeviceID.String(), DeviceName: i.DeviceName, Label: i.Label,
		Decision: "revoked", Serial: i.Serial, Principals: i.Principals, What: wire.Clean(what)}
}

// RevokedSerials are those that computers have to be told of: revoked and not
// expired.
func (l *List) RevokedSerials() (serials []string, err error) {
	list, err := l.All()
	for _, i := range slices.Backward(list) {
		if i.Revoked() && l.now().Before(i.ValidUntil) && len(serials) < wire.MaxRevoked {
			serials = append(serials, i.Serial)
		}
	}
	return serials, err
}

// Numbers of OpenSSH PROTOCOL.krl.
const (
	krlMagic         = 0x5353484b524c0a00 // "SSHKRL\n\0"
	krlFormatVersion = 1
	krlCertificates  = 1    // KRL_SECTION_CERTIFICATES
	krlSerialList    = 0x20 // KRL_SECTION_CERT_SERIAL_LIST
)

// KRL returns a key revocation list (OpenSSH PROTOCOL.krl) with the serials of
// all revoked certificates, for sshd's RevokedKeys and `ssh-keygen -Q`. Without
// any it is a valid list that revokes nothing.
func (l *List) KRL() ([]byte, error) {
	list, err := l.All()
	if err != nil {
		return nil, err
	}
	serials := map[string][]uint64{} // by CA
	for _, i := range list {
		serial, err := strconv.ParseUint(i.Serial, 10, 64)
		if i.Revoked() && err == nil {
			serials[string(i.CA)] = append(serials[string(i.CA)], serial)
		}
	}
	now := uint64(l.now().Unix())
	b := binary.BigEndian.AppendUint64(nil, krlMagic)
	b = binary.BigEndian.AppendUint32(b, krlFormatVersion)
	b = binary.BigEndian.AppendUint64(b, now) // the list's version: later ones have higher ones
	b = binary.BigEndian.AppendUint64(b, now)
	b = binary.BigEndian.AppendUint64(b, 0)                     // flags: none are defined
	b = sshctx.AppendString(sshctx.AppendString(b, ""), "vmux") // reserved, comment
	for _, ca := range slices.Sorted(maps.Keys(serials)) {
		b = sshctx.AppendString(append(b, krlCertificates), revokedBy(ca, serials[ca]))
	}
	return b, nil
}

// revokedBy is the section of one CA's certificates.
func revokedBy(ca string, serials []uint64) string {
	slices.Sort(serials)
	var numbers []byte
	for _, serial := range slices.Compact(serials) {
		numbers = binary.BigEndian.AppendUint64(numbers, serial)
	}
	section := sshctx.AppendString(sshctx.AppendString(nil, ca), "") // reserved
	return string(sshctx.AppendString(append(section, krlSerialList), string(numbers)))
}
