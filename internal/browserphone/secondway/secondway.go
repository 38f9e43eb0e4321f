// Package secondway is what a phone in a browser knows of a way in beside itself: the backup
// that was made last, and one that is being looked at before it is restored. Nothing here
// decrypts a key of the vault, or waits.
package secondway

import (
	"slices"
	"sync"
	"time"

	"vmux/internal/signer/backup"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/transfer"
)

// Made is the last backup, as it is kept among the settings.
type Made struct {
	At   time.Time `json:"at"`
	Keys []string  `json:"keys"` // fingerprints
}

// NewMade notes a backup of the keys that can be in one.
func NewMade(at time.Time, keys []identity.Identity) *Made {
	m := &Made{At: at.UTC(), Keys: []string{}}
	for _, k := range keys {
		if k.Provider != identity.ProviderPasskey {
			m.Keys = append(m.Keys, k.Fingerprint())
		}
	}
	return m
}

// State is what the page shows.
type State struct {
	At int64 `json:"at"` // of the last backup, in Unix milliseconds; 0: none
	// Uncovered are the labels of keys that a backup could hold and the last one does not.
	Uncovered []string `json:"uncovered"`
	// Missing are the labels of keys that no backup can hold.
	Missing []string `json:"missing"`
	// Alone: no key of this phone is known to exist elsewhere, so that all is lost with it.
	Alone bool `json:"alone"`
}

// Of tells how it stands with keys. Copied reports whether a passkey has copies, as its
// provider said of late; otherWay that its person has said so.
func Of(last *Made, otherWay bool, keys []identity.Identity, copied func(identity.Identity) bool) State {
	s := State{Uncovered: []string{}, Missing: []string{}, Alone: len(keys) > 0 && !otherWay}
	if last != nil {
		s.At = last.At.UnixMilli()
	}
	for _, k := range keys {
		switch {
		case k.Provider == identity.ProviderPasskey:
			s.Missing = append(s.Missing, k.Label)
			s.Alone = s.Alone && !copied(k)
		case last != nil && slices.Contains(last.Keys, k.Fingerprint()):
			s.Alone = false
		default:
			s.Uncovered = append(s.Uncovered, k.Label)
		}
	}
	return s
}

// Found is what a backup holds, and what would become of each part.
type Found struct {
	CreatedAt int64              `json:"createdAt"` // Unix milliseconds
	Outcomes  []transfer.Outcome `json:"outcomes"`
	NeedsKeys bool               `json:"needsKeys"` // the vault has to be opened, or made
}

// NewFound reports what was found in a backup.
func NewFound(doc *backup.Document, outcomes []transfer.Outcome) Found {
	f := Found{CreatedAt: doc.CreatedAt.UnixMilli(), Outcomes: append([]transfer.Outcome{}, outcomes...)}
	f.NeedsKeys = transfer.NeedsKeys(outcomes)
	return f
}

// Place holds one backup while it is looked at, and what is known of one that was just
// made. Safe for concurrent use.
type Place struct {
	mu        sync.Mutex
	doc       *backup.Document
	needsKeys bool
	made      *Made // not saved yet
}

// Made keeps what is known of a backup until it is saved.
func (p *Place) Made(m *Made) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made = m
}

// TakeMade returns it, once; nil: there is none.
func (p *Place) TakeMade() *Made {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.made
	p.made = nil
	return m
}

// Put wipes what is there and puts a backup in its place; nil: none.
func (p *Place) Put(doc *backup.Document, needsKeys bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.doc != nil && p.doc != doc {
		p.doc.Wipe()
	}
	p.doc, p.needsKeys = doc, needsKeys
}

// Get returns what is there, which may be nil.
func (p *Place) Get() (doc *backup.Document, needsKeys bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doc, p.needsKeys
}
