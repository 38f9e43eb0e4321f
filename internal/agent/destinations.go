package agent

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/agent/certificate"
	"vmux/internal/agent/client"
	"vmux/internal/agent/keys"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
)

const (
	destinationsVersion  = 1
	documentDestinations = "known-destinations.json"
	// maxDestinations bounds the memory: the one unused for longest goes.
	maxDestinations = 1024
	// refusalLife is how long a certificate that a server did not take stands
	// behind the key that it takes. It is short, since a server may have been
	// told of the CA meanwhile, and to offer it costs no question to anybody.
	refusalLife = 24 * time.Hour
	// touchEvery bounds how often a login that teaches nothing is written down.
	touchEvery = 24 * time.Hour
)

// destination is what the agent remembers of a server: public material only.
//
// An agent does not see whether a login succeeds. What it sees is this: ssh asks
// the agent to sign with a key only after the server has said that it would take
// that key (SSH_MSG_USERAUTH_PK_OK, RFC 4252 section 7), and asks for another
// key's signature only if the first did not suffice. So the key that signed last
// in a session is the one that the server takes: each signature that is given
// out for a host key replaces the key that is remembered for it.
type destination struct {
	Host string `json:"host"`          // fingerprint of the host key
	Key  string `json:"key,omitempty"` // fingerprint of the phone-held key
	// Refused is the kind of certificate (certificateKind) that was listed when
	// ssh went on to Key all the same, at RefusedAt.
	Refused   string    `json:"refused,omitempty"`
	RefusedAt time.Time `json:"refusedAt,omitzero"`
	// Vain is how many of the last logins had phone-held keys listed and none sign,
	// maxVain at most; InVainAt is when the last of them ended, Name what it called
	// the server, Account whom all of them were for. The next login for that account
	// is offered fewer keys: who has mistaken the account has them all for the right one.
	Vain     int       `json:"vain,omitempty"`
	InVainAt time.Time `json:"inVainAt,omitzero"`
	Name     string    `json:"name,omitempty"`
	Account  string    `json:"account,omitempty"`
	Used     time.Time `json:"used"`
}

// vainFor is how many of the last logins for the account were in vain. Where it
// cannot be told, "", it may be the same.
func (d destination) vainFor(account string) int {
	if d.Account != account && d.Account != "" && account != "" {
		return 0
	}
	return d.Vain
}

// refuses reports whether the certificate was seen refused of late.
func (d destination) refuses(s *certificate.Session, now time.Time) bool {
	return s != nil && d.Refused == certificateKind(s.Certificate) && now.Round(0).Sub(d.RefusedAt) < refusalLife
}

// certificateKind tells which certificates a server treats alike: those of one
// CA for the same principals.
func certificateKind(cert *ssh.Certificate) string {
	parts := [][]byte{cert.SignatureKey.Marshal()}
	for _, p := range cert.ValidPrincipals {
		parts = append(parts, []byte(p))
	}
	sum := digestOf("certificate", parts...)
	return base64.RawStdEncoding.EncodeToString(sum[:])
}

// destinations is the memory of servers.
type destinations struct {
	mu     sync.Mutex
	byHost map[string]destination
	saving bool // a task is about to write
	logins
}

// boundHost is the fingerprint of the server that the connection is bound to for a
// login, "" if it is bound to none: of a host certificate, that of its key.
func boundHost(bindings []sshctx.Binding) string {
	if len(bindings) == 0 || bindings[len(bindings)-1].Forwarding {
		return ""
	}
	return sshctx.Fingerprint(sshctx.PlainKey(bindings[len(bindings)-1].HostKey))
}

// learn changes what is known of a host; it reports whether that is to be
// written.
func (d *destinations) learn(host string, now time.Time, edit func(*destination)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.byHost[host]
	known := old
	edit(&known)
	if known == old && now.Sub(old.Used) < touchEvery {
		return false
	}
	known.Host, known.Used = host, now.Round(0)
	d.byHost[host] = known
	if known.Key == "" && known.Refused == "" && known.Vain == 0 {
		delete(d.byHost, host)
	}
	for len(d.byHost) > maxDestinations {
		oldest := known
		for _, other := range d.byHost {
			if other.Used.Before(oldest.Used) {
				oldest = other
			}
		}
		delete(d.byHost, oldest.Host)
	}
	due := !d.saving
	d.saving = true
	return due
}

// learnKey remembers the key that has signed a login. Only this computer's own
// connections teach: what a program on another host binds to is its own choice. A
// key that the user named teaches nothing: ssh tries it before all that is listed,
// and it says who the user is this time, not the next.
func (a *Agent) learnKey(r sshagent.SignRequest, about sshctx.Context, id *keys.Key, login *client.Reading[client.Login]) {
	if len(r.Bindings) != 1 || !r.Bindings[0].Covers(about) {
		return
	}
	if l := login.Wait(); l.Unnamed || l.Keys[string(id.PublicKeyBlob)] {
		return
	}
	now := time.Now()
	passedOver := a.passedOver(r, id)
	a.keepDestinations(a.known.learn(boundHost(r.Bindings), now, func(d *destination) {
		d.Key = id.Fingerprint
		if passedOver != "" {
			d.Refused, d.RefusedAt = passedOver, now.Round(0)
		}
	}))
}

// passedOver returns the kind of the session certificate that ssh had before it
// and did not, or not successfully, log in with.
func (a *Agent) passedOver(r sshagent.SignRequest, id *keys.Key) string {
	s := a.snapshot.Load().session
	if s == nil || r.Listed == nil {
		return ""
	}
	listed := r.Listed.Identities()
	blob := func(want []byte) func(sshagent.Identity) bool {
		return func(i sshagent.Identity) bool { return string(i.Blob) == string(want) }
	}
	certificate, key := slices.IndexFunc(listed, blob(s.Blob)), slices.IndexFunc(listed, blob(id.PublicKeyBlob))
	if certificate < 0 || key < certificate {
		return ""
	}
	return certificateKind(s.Certificate)
}

// learnCertificate remembers that the server takes the certificate.
func (a *Agent) learnCertificate(c sshagent.Connection, about sshctx.Context) {
	host := boundHost(c.Bindings)
	if host == "" {
		return
	}
	a.asked(c)
	if len(c.Bindings) == 1 && c.Bindings[0].Covers(about) && a.known.refusedAt(host) {
		a.keepDestinations(a.known.learn(host, time.Now(), func(d *destination) {
			d.Refused, d.RefusedAt = "", time.Time{}
		}))
	}
}

func (d *destinations) refusedAt(host string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byHost[host].Refused != ""
}

// keepDestinations writes the memory soon. No signature waits for the disk; what
// a crash takes away is learned again.
func (a *Agent) keepDestinations(due bool) {
	if !due {
		return
	}
	a.tasks.run(func(context.Context) {
		a.saving.Lock()
		defer a.saving.Unlock()
		b, err := a.known.encode()
		if err == nil {
			err = a.docs.Put(documentDestinations, b)
		}
		if err != nil {
			a.log.Warn("keep the memory of destinations", "error", err)
		}
	})
}

type destinationsDocument struct {
	Version      int           `json:"version"`
	Destinations []destination `json:"destinations"` // latest first
}

func (d *destinations) encode() ([]byte, error) {
	d.mu.Lock()
	d.saving = false
	doc := destinationsDocument{Version: destinationsVersion, Destinations: []destination{}}
	for _, known := range d.byHost {
		doc.Destinations = append(doc.Destinations, known)
	}
	d.mu.Unlock()
	slices.SortFunc(doc.Destinations, func(a, b destination) int {
		if c := b.Used.Compare(a.Used); c != 0 {
			return c
		}
		return strings.Compare(a.Host, b.Host)
	})
	return json.MarshalIndent(doc, "", "  ")
}

// loadDestinations reads the memory. A document that is damaged is set aside and
// told of in warning.
func loadDestinations(docs documents, now time.Time) (byHost map[string]destination, warning string, err error) {
	b, err := docs.Get(documentDestinations)
	if err != nil {
		return nil, "", fmt.Errorf("read the memory of destinations: %w", err)
	}
	if b == nil {
		return map[string]destination{}, "", nil
	}
	byHost, err = parseDestinations(b)
	if err == nil {
		return byHost, "", nil
	}
	aside, err := docs.SetAside(documentDestinations, ".damaged-"+now.UTC().Format("20060102-150405"))
	if err != nil {
		return nil, "", fmt.Errorf("set the damaged memory of destinations aside: %w", err)
	}
	return map[string]destination{},
		fmt.Sprintf("The memory of which key works where was damaged and is set aside as %s. It is learned again.", aside), nil
}

func parseDestinations(b []byte) (map[string]destination, error) {
	var doc destinationsDocument
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	if doc.Version != destinationsVersion || len(doc.Destinations) > maxDestinations {
		return nil, errors.New("of another version, or too long")
	}
	byHost := make(map[string]destination, len(doc.Destinations))
	for _, d := range doc.Destinations {
		if !isFingerprint(d.Host) || d.Key != "" && !isFingerprint(d.Key) || d.Vain < 0 || d.Vain > maxVain {
			return nil, errors.New("not a fingerprint, or out of range")
		}
		byHost[d.Host] = d
	}
	return byHost, nil
}

func isFingerprint(text string) bool {
	sum, ok := strings.CutPrefix(text, "SHA256:")
	b, err := base64.RawStdEncoding.DecodeString(sum)
	return ok && err == nil && len(b) == sha256.Size
}
