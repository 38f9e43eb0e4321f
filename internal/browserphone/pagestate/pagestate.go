// Package pagestate is what the page shows of the phone, and how: the phone's facts in the
// form in which the page reads them. It looks for nothing by itself, and changes nothing.
package pagestate

import (
	"vmux/internal/browserphone/secondway"
	"vmux/internal/browserphone/sheets"
	"vmux/internal/signer/policy"
	"vmux/internal/wire"
)

// State is what the page shows. Times are Unix milliseconds, 0 if there is none.
type State struct {
	Version     string `json:"version"`
	Hub         Hub    `json:"hub"`
	DeviceName  string `json:"deviceName"`
	DeviceID    string `json:"deviceID"`
	RPID        string `json:"rpID"`
	RPProblem   string `json:"rpProblem,omitempty"`
	Push        bool   `json:"push"` // its person wants it to be woken
	PushProblem string `json:"pushProblem,omitempty"`
	Vault       *Vault `json:"vault"`
	Passphrases int    `json:"passphrases"` // keys in the vault that a passphrase opens

	SecondWay secondway.State `json:"secondWay"`

	Computers    []Computer     `json:"computers"`
	Identities   []Identity     `json:"identities"`
	CA           *CA            `json:"ca"`
	Certificates []Certificate  `json:"certificates"`
	Grants       Grants         `json:"grants"`
	Pauses       []Pause        `json:"pauses"`
	Sheets       []sheets.Sheet `json:"sheets"`
}

// Hub is how it stands with the hub.
type Hub struct {
	URL       string `json:"url"`
	Connected bool   `json:"connected"`
	Error     string `json:"error,omitempty"`
	VAPIDKey  string `json:"vapidKey,omitempty"`
}

// Vault is what there is to know of the vault.
type Vault struct {
	BackupEligible bool `json:"backupEligible"`
	BackedUp       bool `json:"backedUp"`
	Keys           int  `json:"keys"`
}

// Computer is a paired computer.
type Computer struct {
	ID                     string    `json:"id"`
	Name                   wire.Text `json:"name"`
	Connected              bool      `json:"connected"`
	Connecting             bool      `json:"connecting"`
	Since                  int64     `json:"since"`
	ClockDifferenceSeconds int64     `json:"clockDifferenceSeconds"`
	OpenSSHVersion         string    `json:"opensshVersion,omitempty"`
	LastError              wire.Text `json:"lastError,omitzero"`
}

// Identity is a key of this phone.
type Identity struct {
	Fingerprint    string   `json:"fingerprint"`
	Label          string   `json:"label"`
	Algorithm      string   `json:"algorithm"`
	Kind           string   `json:"kind"` // "passkey", "vault" or "passphrase"
	Enabled        bool     `json:"enabled"`
	Default        bool     `json:"default"`
	CreatedAt      int64    `json:"createdAt"`
	BackedUp       *bool    `json:"backedUp"` // nil: not known
	BackupEligible bool     `json:"backupEligible"`
	Principals     []string `json:"principals"`
	AuthorizedKey  string   `json:"authorizedKey"`
	PublicKey      string   `json:"publicKey"`
	Warning        string   `json:"warning,omitempty"`
	// Rules are nil where every use is allowed.
	Rules *policy.Rules `json:"rules"`
}

// CA is the phone's certificate authority.
type CA struct {
	Fingerprint string         `json:"fingerprint"`
	Kind        string         `json:"kind"`
	Line        string         `json:"line"`
	Policy      policy.Issuing `json:"policy"`
	ServerHint  string         `json:"serverHint"`
}

// Grants is what may be used without asking.
type Grants struct {
	Enabled bool    `json:"enabled"`
	List    []Grant `json:"list"`
}

// Grant is a signer.Grant as the page shows it.
type Grant struct {
	ID       string    `json:"id"`
	Label    wire.Text `json:"label"`
	Computer wire.Text `json:"computer"`
	What     wire.Text `json:"what"`
	Since    int64     `json:"since"` // Unix milliseconds
	Until    int64     `json:"until"`
}

// Pause is a signer.Pause as the page shows it.
type Pause struct {
	ComputerID string    `json:"computerID"`
	Computer   wire.Text `json:"computer"`
	Program    wire.Text `json:"program,omitzero"` // empty: the whole computer
	Until      int64     `json:"until"`            // Unix milliseconds
}

// Certificate is a session certificate that this phone has issued. Times are
// Unix milliseconds.
type Certificate struct {
	Serial      string    `json:"serial"`
	Computer    wire.Text `json:"computer"`
	Identity    wire.Text `json:"identity"`
	Principals  []string  `json:"principals"`
	ValidAfter  int64     `json:"validAfter"`
	ValidBefore int64     `json:"validBefore"`
	IssuedAt    int64     `json:"issuedAt"`
	RevokedAt   int64     `json:"revokedAt,omitempty"`
}

// Host is a hosts.Host as the page shows it.
type Host struct {
	Fingerprint string      `json:"fingerprint"`
	Names       []wire.Text `json:"names"`
	Users       []wire.Text `json:"users"`
	FirstSeen   int64       `json:"firstSeen"` // Unix milliseconds
	LastSeen    int64       `json:"lastSeen"`
}
