// Package secondway is what a phone in a browser knows of a way in beside itself: which keys
// are in a backup, and the one that is being looked at before it is restored. Nothing here
// decrypts a key of the vault, or waits.
package secondway

import (
	"sync"

	"vmux/internal/signer/backup"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/transfer"
)

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
func Of(otherWay bool, keys []identity.Identity, copied func(identity.Identity) bool) State {
	s := State{Uncovered: []string{}, Missing: []string{}, Alone: len(keys) > 0 && !otherWay}
	for _, k := range keys {
		switch {
		case k.Provider == identity.ProviderPasskey:
			s.Missing = append(s.Missing, k.Label)
			s.Alone = s.Alone && !copied(k)
		case !k.BackedUp.IsZero():
			s.At = max(s.At, k.BackedUp.UnixMilli())
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
	made      []string // fingerprints of the keys in one that is not saved yet
}

// Made keeps which keys are in a backup until it is saved.
func (p *Place) Made(fingerprints []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made = fingerprints
}

// TakeMade returns them, once; none: there is no backup to be saved.
func (p *Place) TakeMade() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	made := p.made
	p.made = nil
	return made
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
