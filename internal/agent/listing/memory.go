// Package listing decides which phone-held keys a login is offered and in which order:
// by what phones say of their keys, what the user names for ssh, and what earlier
// logins to the server have shown, which it remembers. It asks nobody and signs nothing.
package listing

import (
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

	"vmux/internal/agent/client"
	"vmux/internal/agent/keys"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
)

// Document is the name of the document with what is remembered of servers.
const Document = "known-destinations.json"

const (
	version = 1
	// maxDestinations bounds the memory: the one unused for longest goes.
	maxDestinations = 1024
	// refusalLife is how long a certificate that a server did not take stands
	// behind the key that it takes. It is short, since a server may have been
	// told of the CA meanwhile, and to offer it costs no question to anybody.
	refusalLife = 24 * time.Hour
	// touchEvery bounds how often a login that teaches nothing is written down.
	touchEvery = 24 * time.Hour
)

// Config is what a Memory needs.
type Config struct {
	Documents keys.Documents
	// Files are where ssh is configured and servers are named.
	Files *client.Files
	// MaxKeys is how many phone-held keys a login is offered; negative: all.
	MaxKeys int
	// Due is called when Save is to be called soon. It must not wait.
	Due func()
}

// Memory is what logins have shown of servers. It may be used concurrently.
type Memory struct {
	Config

	saving sync.Mutex // orders the writes of the document; taken before mu

	mu        sync.Mutex
	byHost    map[string]destination
	due       bool                 // Save is to be called
	open      map[uint64]login     // by the connection
	unsigned  map[string]unsigned  // the last login to a host, if no signature was asked for since
	forwarded map[string]forwarded // by the host, of logins that came through another one
}

// Open reads the document. One that is damaged is set aside and told of in warning.
func Open(c Config, now time.Time) (m *Memory, warning string, err error) {
	m = &Memory{Config: c, open: map[uint64]login{}, unsigned: map[string]unsigned{}, forwarded: map[string]forwarded{}}
	m.byHost, warning, err = load(c.Documents, now)
	return m, warning, err
}

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
	Key  string `json:"key,omitempty"` // fingerprint of the key that works there
	// Refused is the kind of certificate (Certificate.kind) that was listed when
	// ssh went on to Key all the same, at RefusedAt.
	Refused   string    `json:"refused,omitempty"`
	RefusedAt time.Time `json:"refusedAt,omitzero"`
	// Tries is how many of the last logins had phone-held keys listed and none sign,
	// maxTries at most; TriedAt is when the last of them ended, Name what it called
	// the server, Account whom all of them were for. The next login for that account
	// is offered fewer keys: who has mistaken the account has them all for the right one.
	Tries   int       `json:"tries,omitempty"`
	TriedAt time.Time `json:"triedAt,omitzero"`
	Name    string    `json:"name,omitempty"`
	Account string    `json:"account,omitempty"`
	Used    time.Time `json:"used"`
}

// triesFor is how many of the last logins for the account had no signature. Where it
// cannot be told, "", it may be the same.
func (d destination) triesFor(account string) int {
	if d.Account != account && d.Account != "" && account != "" {
		return 0
	}
	return d.Tries
}

// forgive lets all keys be offered again.
func (d *destination) forgive() { d.Tries, d.TriedAt, d.Name, d.Account = 0, time.Time{}, "", "" }

// refuses reports whether the certificate was seen refused of late.
func (d destination) refuses(c *Certificate, now time.Time) bool {
	return c != nil && d.Refused == c.kind() && now.Round(0).Sub(d.RefusedAt) < refusalLife
}

// Certificate is a session certificate as it is listed.
type Certificate struct {
	sshagent.Identity
	Certificate *ssh.Certificate
}

// kind tells which certificates a server treats alike: those of one CA for the same
// principals.
func (c *Certificate) kind() string {
	b := sshctx.AppendString([]byte("certificate"), c.Certificate.SignatureKey.Marshal())
	for _, p := range c.Certificate.ValidPrincipals {
		b = sshctx.AppendString(b, []byte(p))
	}
	sum := sha256.Sum256(b)
	return base64.RawStdEncoding.EncodeToString(sum[:])
}

// Host is the fingerprint of the server that the connection is bound to for a login,
// "" if it is bound to none: of a host certificate, that of its key.
func Host(bindings []sshctx.Binding) string {
	if len(bindings) == 0 || bindings[len(bindings)-1].Forwarding {
		return ""
	}
	return sshctx.Fingerprint(sshctx.PlainKey(bindings[len(bindings)-1].HostKey))
}

// learn changes what is known of a host.
func (m *Memory) learn(host string, now time.Time, edit func(*destination)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.byHost[host]
	known := old
	edit(&known)
	if known == old && now.Sub(old.Used) < touchEvery {
		return
	}
	known.Host, known.Used = host, now.Round(0)
	m.byHost[host] = known
	if known.Key == "" && known.Refused == "" && known.Tries == 0 {
		delete(m.byHost, host)
	}
	for len(m.byHost) > maxDestinations {
		oldest := known
		for _, other := range m.byHost {
			if other.Used.Before(oldest.Used) {
				oldest = other
			}
		}
		delete(m.byHost, oldest.Host)
	}
	if !m.due {
		m.due = true
		m.Due()
	}
}

// KeySigned remembers the key that has signed a login, a phone's or the upstream agent's; c is the certificate that there
// is, or nil. Only this computer's own connections teach: what a program on another host
// binds to is its own choice. A key that the user named teaches nothing: ssh tries it
// before all that is listed, and it says who the user is this time, not the next.
func (m *Memory) KeySigned(r sshagent.SignRequest, about sshctx.Context, blob []byte, login client.Login, c *Certificate) {
	if len(r.Bindings) != 1 || !r.Bindings[0].Covers(about) || login.Unnamed || login.Keys[string(blob)] {
		return
	}
	now := time.Now()
	m.learn(Host(r.Bindings), now, func(d *destination) {
		d.Key = sshctx.Fingerprint(blob)
		if c != nil && passedOver(r.Listed, c.Blob, blob) {
			d.Refused, d.RefusedAt = c.kind(), now.Round(0)
		}
	})
}

// passedOver reports whether ssh had the certificate before the key and did not, or not
// successfully, log in with it.
func passedOver(listed *sshagent.Listing, certificate, key []byte) bool {
	if listed == nil {
		return false
	}
	at := func(blob []byte) int {
		return slices.IndexFunc(listed.Identities(), func(i sshagent.Identity) bool { return string(i.Blob) == string(blob) })
	}
	return at(certificate) >= 0 && at(key) >= at(certificate)
}

// CertificateSigned remembers that the server takes the certificate.
func (m *Memory) CertificateSigned(c sshagent.Connection, about sshctx.Context) {
	m.Asked(c)
	host := Host(c.Bindings)
	m.mu.Lock()
	refused := m.byHost[host].Refused != ""
	m.mu.Unlock()
	if refused && len(c.Bindings) == 1 && c.Bindings[0].Covers(about) {
		m.learn(host, time.Now(), func(d *destination) { d.Refused, d.RefusedAt = "", time.Time{} })
	}
}

// Save writes the document. What a crash takes away is learned again.
func (m *Memory) Save() error {
	m.saving.Lock()
	defer m.saving.Unlock()
	b, err := m.encode()
	if err != nil {
		return err
	}
	return m.Documents.Put(Document, b)
}

type document struct {
	Version      int           `json:"version"`
	Destinations []destination `json:"destinations"` // latest first
}

func (m *Memory) encode() ([]byte, error) {
	m.mu.Lock()
	m.due = false
	doc := document{Version: version, Destinations: []destination{}}
	for _, known := range m.byHost {
		doc.Destinations = append(doc.Destinations, known)
	}
	m.mu.Unlock()
	slices.SortFunc(doc.Destinations, func(a, b destination) int {
		if c := b.Used.Compare(a.Used); c != 0 {
			return c
		}
		return strings.Compare(a.Host, b.Host)
	})
	return json.MarshalIndent(doc, "", "  ")
}

// load reads the memory. A document that is damaged is set aside and
// told of in warning.
func load(docs keys.Documents, now time.Time) (byHost map[string]destination, warning string, err error) {
	b, err := docs.Get(Document)
	if err != nil {
		return nil, "", fmt.Errorf("read the memory of destinations: %w", err)
	}
	if b == nil {
		return map[string]destination{}, "", nil
	}
	byHost, err = parse(b)
	if err == nil {
		return byHost, "", nil
	}
	aside, err := docs.SetAside(Document, now)
	if err != nil {
		return nil, "", fmt.Errorf("set the damaged memory of destinations aside: %w", err)
	}
	return map[string]destination{},
		fmt.Sprintf("The memory of which key works where was damaged and is set aside as %s. It is learned again.", aside), nil
}

func parse(b []byte) (map[string]destination, error) {
	var doc document
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	if doc.Version != version || len(doc.Destinations) > maxDestinations {
		return nil, errors.New("of another version, or too long")
	}
	byHost := make(map[string]destination, len(doc.Destinations))
	for _, d := range doc.Destinations {
		if !isFingerprint(d.Host) || d.Key != "" && !isFingerprint(d.Key) || d.Tries < 0 || d.Tries > maxTries {
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
