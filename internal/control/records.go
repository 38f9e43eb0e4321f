package control

import (
	"cmp"
	"slices"
	"time"

	"vmux/internal/wire"
)

// The records are JSON objects; times are RFC 3339, blobs standard base64,
// device IDs their 52-character text, fingerprints `SHA256:` and unpadded
// base64. Fields are only ever added.

// The lines of a Status, word for word; the phone's name or the time follows.
const (
	LineConnected          = "Connected to "
	LineNotConnected       = "Phone not connected"
	LineCertificateValid   = "Certificate valid until "
	LineCertificateExpired = "Certificate expired — connect phone to renew"
	LineNoCertificate      = "No session certificate"
)

// TimeLayout is how the lines of a Status write a time, in local time.
const TimeLayout = "2006-01-02 15:04:05"

// Status is how it stands with the agent.
type Status struct {
	// ConnectionLine and CertificateLine are for people.
	ConnectionLine  string `json:"connectionLine"`
	CertificateLine string `json:"certificateLine"`

	Connected   bool        `json:"connected"`        // to any phone
	Locked      bool        `json:"locked,omitempty"` // by ssh-add -x
	Certificate Certificate `json:"certificate"`
	// Identities are what SSH clients see, in their order, but for the upstream agent's.
	Identities []Identity `json:"identities"`
	Phones     []Device   `json:"phones"`
	// Waiting are the requests that wait for a phone, oldest first.
	Waiting []Request `json:"waiting"`
	// LastFailure is the newest failure, if nothing of its kind has succeeded
	// since.
	LastFailure *Failure `json:"lastFailure,omitempty"`
	// Unsigned is the last login, of the last ten minutes, for which ssh was told
	// of identities and had none of them sign.
	Unsigned *UnsignedLogin `json:"unsigned,omitempty"`
	// FewerKeys are the servers that took none of the keys that they were offered, and
	// so are offered fewer, the latest first.
	FewerKeys []FewerKeys `json:"fewerKeys,omitempty"`
	// History are the last finished requests and events, newest first.
	History []Event `json:"history"`
	// Warnings are sentences about what needs the user: clocks that differ, a
	// damaged cache set aside, a CA that has changed.
	Warnings []string `json:"warnings"`

	// Notifications are the kinds of notifications that the user wants: see
	// internal/notices.
	Notifications []string `json:"notifications"`

	// Hub is the one that the agent uses; nil: none.
	Hub *Hub `json:"hub,omitempty"`

	// Upstream is the agent whose keys are listed after these; nil: none.
	Upstream *Upstream `json:"upstream,omitempty"`

	DeviceID   string    `json:"deviceID"` // this computer's
	DeviceName string    `json:"deviceName"`
	Socket     string    `json:"socket"` // path of the SSH agent's socket
	PID        int       `json:"pid"`
	Version    string    `json:"version"`
	StartedAt  time.Time `json:"startedAt"`
	// Flags are those that the agent was started with, by their names.
	Flags map[string]string `json:"flags,omitempty"`
}

// Hub is how it stands with the agent's hub.
type Hub struct {
	URL       string    `json:"url"`   // public: what phones open
	Local     bool      `json:"local"` // started beside the agent
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since,omitzero"`      // of the connection, or of its end
	LastError string    `json:"lastError,omitempty"` // why it is not connected
	ErrorHint string    `json:"errorHint,omitempty"` // what to do about LastError
	Renamed   string    `json:"renamed,omitempty"`   // this computer is no longer called what its hub is
	Hint      string    `json:"hint,omitempty"`      // what to do about Renamed
}

// Upstream is another SSH agent of this computer.
type Upstream struct {
	Socket    string `json:"socket"`
	Keys      int    `json:"keys"`            // how many it lists to who does not say where to log in
	Forwarded bool   `json:"forwarded"`       // also for programs on other hosts
	Error     string `json:"error,omitempty"` // why it does not answer
	Hint      string `json:"hint,omitempty"`  // what to do about that
}

// CertificateState says what there is.
type CertificateState string

// The certificate states.
const (
	CertificateNone    CertificateState = "none"
	CertificateValid   CertificateState = "valid"
	CertificateExpired CertificateState = "expired"
)

// Certificate is the session certificate. All but State is empty when there is
// none.
type Certificate struct {
	State       CertificateState `json:"state"`
	Phone       string           `json:"phone,omitempty"`    // name of the phone whose CA signed it
	DeviceID    string           `json:"deviceID,omitempty"` // of that phone
	KeyID       string           `json:"keyID,omitempty"`
	Serial      string           `json:"serial,omitempty"` // decimal: JSON numbers lose 64 bits
	Principals  []string         `json:"principals,omitempty"`
	ValidAfter  time.Time        `json:"validAfter,omitzero"`
	ValidBefore time.Time        `json:"validBefore,omitzero"`
	// CriticalOptions and Extensions as in PROTOCOL.certkeys.
	CriticalOptions map[string]string `json:"criticalOptions,omitempty"`
	Extensions      map[string]string `json:"extensions,omitempty"`
	// Fingerprint is that of the ephemeral key, which ssh-add -l prints.
	Fingerprint   string `json:"fingerprint,omitempty"`
	CAFingerprint string `json:"caFingerprint,omitempty"`
	// Line is the certificate as ssh-add -L prints it, without a line end.
	Line string `json:"line,omitempty"`
	// Renewing tells that a phone is being asked for the next one.
	Renewing bool `json:"renewing,omitempty"`
	// AutomaticHeld tells that nothing is asked automatically, since the user
	// has denied it, or has removed the certificate.
	AutomaticHeld bool `json:"automaticHeld,omitempty"`
}

// Sentence is how it stands with the certificate, by this process's clock.
func (c Certificate) Sentence() string {
	switch c.State {
	case CertificateValid:
		return LineCertificateValid + c.ValidBefore.Local().Format(TimeLayout)
	case CertificateExpired:
		return LineCertificateExpired
	}
	return LineNoCertificate
}

// Identity is one key as SSH clients see it.
type Identity struct {
	Comment     string `json:"comment"`
	Fingerprint string `json:"fingerprint"`
	Algorithm   string `json:"algorithm"`
	PublicKey   string `json:"publicKey"` // an authorized_keys line without comment
	// Certificate marks the session certificate; the fields below are empty then.
	Certificate  bool              `json:"certificate,omitempty"`
	DisplayName  string            `json:"displayName,omitempty"`
	ProviderKind wire.ProviderKind `json:"providerKind,omitempty"`
	Phones       []string          `json:"phones,omitempty"`   // names of those that hold it
	PhoneIDs     []string          `json:"phoneIDs,omitempty"` // their device IDs, in the same order
	Available    bool              `json:"available"`          // one of them is connected, or it is the certificate
	// Servers are the fingerprints of host keys that the phone limits the key to;
	// none: it is listed for all.
	Servers []string `json:"servers,omitempty"`
	// SecondWay: a phone says that there is a way in without its copy, as a backup.
	SecondWay bool `json:"secondWay,omitempty"`
}

// Device is a paired phone.
type Device struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	PairedAt  time.Time `json:"pairedAt,omitzero"`
	Connected bool      `json:"connected"`
	Route     string    `json:"route,omitempty"` // of the link: "tcp:HOST:PORT", "hub:URL"
	Since     time.Time `json:"since,omitzero"`  // of the link, or of its end
	Keys      int       `json:"keys"`            // how many are known of it
	// RoundTripMilliseconds is how long the phone's last answer to a ping took.
	RoundTripMilliseconds float64 `json:"roundTripMilliseconds,omitempty"`
	// ClockDifferenceMilliseconds is how far the phone's clock is ahead.
	ClockDifferenceMilliseconds int64 `json:"clockDifferenceMilliseconds,omitempty"`
	ClockWarning                bool  `json:"clockWarning,omitempty"` // 30 s or more
	AutomaticIssuance           bool  `json:"automaticIssuance"`
	// CAFingerprint is the CA that is accepted of this phone; CAChangedTo the
	// one that it uses now and that nobody has confirmed.
	CAFingerprint  string `json:"caFingerprint,omitempty"`
	CAChangedTo    string `json:"caChangedTo,omitempty"`
	ProgramVersion string `json:"programVersion,omitempty"`
	LastError      string `json:"lastError,omitempty"` // why it is not connected
	// NotReached is the same in words for people, where the network is to blame, and
	// Hint what to do about it.
	NotReached string `json:"notReached,omitempty"`
	Hint       string `json:"hint,omitempty"`
	Wakeable   bool   `json:"wakeable"` // the hub can wake it
	// WakeProblem is why it cannot be woken, and WakeHint what to do; "" of phones of
	// which nothing is known, as those that are no web app.
	WakeProblem string `json:"wakeProblem,omitempty"`
	WakeHint    string `json:"wakeHint,omitempty"`
	LastWake    *Wake  `json:"lastWake,omitempty"` // since the agent was started
}

// Wake is what came of waking a phone.
type Wake struct {
	At    time.Time `json:"at"`
	Error string    `json:"error,omitempty"` // "": its push service took it
}

// Woken is a phone that was to be woken, and why it was not.
type Woken struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Error *Error `json:"error,omitempty"`
}

// Request is something that waits for a person.
type Request struct {
	RequestID   string    `json:"requestID"`
	Kind        string    `json:"kind"` // "sign" or "certificate"
	Identity    string    `json:"identity,omitempty"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	Detail      string    `json:"detail,omitempty"` // user name, namespace; as the bytes say
	Program     string    `json:"program,omitempty"`
	Since       time.Time `json:"since"`
	Until       time.Time `json:"until"`
	Shown       bool      `json:"shown"`           // a phone has acknowledged it
	Woken       bool      `json:"woken,omitempty"` // the hub was asked to wake a phone
}

// About is what waits, in words.
func (r Request) About() string {
	text := "a session certificate"
	if r.Kind == "sign" {
		text = cmp.Or(wire.Show(r.Identity), "a key")
	}
	if r.Detail != "" {
		text += ": " + wire.Show(r.Detail)
	}
	if r.Program != "" {
		text += " (" + wire.Show(r.Program) + ")"
	}
	return text
}

// SentenceWithdrawn is the failure of what the user has withdrawn on this computer.
const SentenceWithdrawn = "Withdrawn on this computer."

// Failure is why something did not work.
type Failure struct {
	Code     wire.Code `json:"code"`
	Sentence string    `json:"sentence"`
	Hint     string    `json:"hint,omitempty"`
	About    string    `json:"about,omitempty"` // the key and what it was to sign, or the phone
	Kind     string    `json:"kind"`            // "sign", "certificate" or "keys"
	At       time.Time `json:"at"`
}

// UnsignedLogin is a login for which identities were listed, and none signed: ssh
// has a key sign only if the server takes it, so that the server took none of
// them, or ssh logged in by other means.
type UnsignedLogin struct {
	At     time.Time `json:"at"`
	Server string    `json:"server"`         // fingerprint of its host key
	Name   string    `json:"name,omitempty"` // as known_hosts has it
	Listed int       `json:"listed"`         // how many identities ssh was told of
	// Elsewhere are the comments of the keys that were left out, since the phone
	// limits them to other servers.
	Elsewhere []string `json:"elsewhere,omitempty"`
	// Left is how many more keys may be used there.
	Left int `json:"left,omitempty"`
}

// FewerKeys is a server that is offered fewer phone-held keys, or none, since it took
// none of those that it was offered.
type FewerKeys struct {
	At     time.Time `json:"at"`             // of the last login without a signature
	Server string    `json:"server"`         // fingerprint of its host key
	Name   string    `json:"name,omitempty"` // as the user or known_hosts has it
	// Account is whom the logins were for; several where only ssh can tell.
	Account string `json:"account,omitempty"`
	// Forwarded: this holds for logins through a forwarded agent.
	Forwarded bool `json:"forwarded,omitempty"`
	Most      int  `json:"most"` // how many keys the next login is offered
}

// Event is one line of the history.
type Event struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"` // "sign", "certificate", "keys", "pairing", "link"
	Text string    `json:"text"`
	Code wire.Code `json:"code,omitempty"` // of a failure
}

// PairOptions says how to invite.
type PairOptions struct {
	// Hosts are the addresses to listen at and to name in the invitation;
	// empty means all of this machine's. Port 0 of each is the system's choice.
	Hosts []string `json:"hosts,omitempty"`
}

// PairEvent is one step of a pairing: exactly one field is set.
type PairEvent struct {
	// Invitation is a secret URL, to be shown to the user alone.
	Invitation *Invitation `json:"invitation,omitempty"`
	Paired     *Device     `json:"paired,omitempty"`
	Error      *Error      `json:"error,omitempty"`
}

// Invitation is what to show to the phone.
type Invitation struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
	Routes  []string  `json:"routes"`
	// DeviceID is this computer's, for the user to compare with what the phone
	// shows.
	DeviceID string `json:"deviceID"`
	// Hub is the URL of the hub's page, which the invitation opens on a phone;
	// HubError says why nobody can come that way.
	Hub      string `json:"hub,omitempty"`
	HubError string `json:"hubError,omitempty"`
	HubHint  string `json:"hubHint,omitempty"` // what to do about that
}

// CertificateOptions says which certificate to request. The zero value asks
// for the usual one.
type CertificateOptions struct {
	// Phone is a device's name, ID or beginning of an ID; empty means the one
	// that issued the present certificate, else the only one that has a CA.
	Phone string `json:"phone,omitempty"`
	// ValiditySeconds defaults to 28800.
	ValiditySeconds int64 `json:"validitySeconds,omitempty"`
	// Identity is the fingerprint or comment of a phone-held key; empty means
	// the phone's default.
	Identity   string   `json:"identity,omitempty"`
	Principals []string `json:"principals,omitempty"`
}

// GitClaim says what a git signature that is asked for next is for.
type GitClaim struct {
	// Hash is what will be signed: the hash algorithm, a colon, hexadecimal.
	Hash   string         `json:"hash"`
	Object wire.GitObject `json:"object"`
}

// RefreshResult is what a refresh found.
type RefreshResult struct {
	Phones []RefreshedPhone `json:"phones"`
	// Identities are what SSH clients see now.
	Identities []Identity `json:"identities"`
}

// RefreshedPhone is one phone's part in a refresh.
type RefreshedPhone struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Keys  int    `json:"keys"`
	Error *Error `json:"error,omitempty"` // its old list stays
}

// CA is the certificate authority of a phone.
type CA struct {
	DeviceID string `json:"deviceID"`
	Phone    string `json:"phone"`
	// Line is the public key as a line for TrustedUserCAKeys, without line end.
	Line        string `json:"line"`
	Fingerprint string `json:"fingerprint"`
	// Confirmed tells that certificates of this CA are accepted. False after
	// a change, until AcceptCA.
	Confirmed bool `json:"confirmed"`
	// Previous is the fingerprint accepted so far, after a change.
	Previous string `json:"previous,omitempty"`
}

// DistinctCAs leaves one of each CA: where one was restored from a backup, two phones have
// the same. One that waits to be accepted is none of those that are.
func DistinctCAs(all []CA) (distinct []CA) {
	for _, ca := range all {
		if !slices.ContainsFunc(distinct, func(d CA) bool { return d.Line == ca.Line && d.Confirmed == ca.Confirmed }) {
			distinct = append(distinct, ca)
		}
	}
	return distinct
}
