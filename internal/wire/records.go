package wire

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Origin is the value of RemoteSignRequest.Origin, whatever the platform.
const Origin = "macOSGenericAgent"

// Window is how long a request waits for its answer when nothing else is set.
const Window = 60 * time.Second

// MaxWindow bounds the window that a phone accepts.
const MaxWindow = 100 * time.Second

// ClockWarning is the difference between two devices' clocks from which on both
// warn of it.
const ClockWarning = 30 * time.Second

// Hello is the first record in each direction of a link.
type Hello struct {
	ProtocolVersion   int    `json:"protocolVersion"`
	ProgramVersion    string `json:"programVersion"`
	DeviceName        string `json:"deviceName,omitempty"` // empty until paired
	ClockMilliseconds int64  `json:"clockMilliseconds"`    // the sender's, Unix milliseconds

	// AutomaticIssuance is the phone's: whether its CA policy lets an agent
	// ask for a certificate that nobody pressed a button for.
	AutomaticIssuance bool `json:"automaticIssuance,omitempty"`
	// CAPublicKey is the phone's: the blob of its CA's public key, if it has a
	// CA, so that a server can be told to trust it before the first certificate.
	CAPublicKey []byte `json:"caPublicKey,omitempty"`
	// RevokedSerials is the phone's: decimal serials of certificates that it has
	// revoked and that have not expired. The agent drops them at once.
	RevokedSerials []string `json:"revokedSerials,omitempty"`
	// OpenSSHVersion is the agent's: what `ssh -V` says, for example
	// "OpenSSH_9.2p1"; empty if there is none.
	OpenSSHVersion string `json:"openSSHVersion,omitempty"`
}

// Check reports what is malformed.
func (h *Hello) Check() error {
	return cmp.Or(
		checkVersion(h.ProtocolVersion),
		checkText("programVersion", h.ProgramVersion),
		checkText("deviceName", h.DeviceName),
		checkText("openSSHVersion", h.OpenSSHVersion),
		checkSize("caPublicKey", h.CAPublicKey, 0, MaxBlobSize),
		checkTexts("revokedSerials", h.RevokedSerials, MaxRevoked),
	)
}

// Clock is the sender's clock.
func (h *Hello) Clock() time.Time { return time.UnixMilli(h.ClockMilliseconds) }

// PairRequest is the phone's half of pairing. Proof is device.PairingProof of
// the invitation's secret over this very TLS channel.
type PairRequest struct {
	Proof      []byte `json:"proof"`
	DeviceName string `json:"deviceName"`
	// Routes are where the phone can be reached, for example "tcp:192.0.2.7:41234".
	Routes []string `json:"routes,omitempty"`
}

// Check reports what is malformed.
func (r *PairRequest) Check() error {
	return cmp.Or(
		checkSize("proof", r.Proof, 32, 32),
		checkText("deviceName", r.DeviceName),
		checkTexts("routes", r.Routes, 16),
	)
}

// PairResponse is the agent's half of pairing.
type PairResponse struct {
	Proof      []byte   `json:"proof"`
	DeviceName string   `json:"deviceName"`
	Routes     []string `json:"routes,omitempty"`
}

// Check reports what is malformed.
func (r *PairResponse) Check() error {
	return (*PairRequest)(r).Check()
}

// ProviderKind says where a private key lives.
type ProviderKind string

// The provider kinds.
const (
	ProviderSecureEnclave ProviderKind = "secureEnclave"
	ProviderHardwareToken ProviderKind = "hardwareToken"
	ProviderUnknown       ProviderKind = "unknown"
)

// RemoteSignerPublicKey is one identity as the phone tells it.
type RemoteSignerPublicKey struct {
	Algorithm     string       `json:"algorithm"`     // OpenSSH key type
	PublicKeyBlob []byte       `json:"publicKeyBlob"` // RFC 4253 section 6.6
	Comment       string       `json:"comment"`
	ProviderKind  ProviderKind `json:"providerKind"`
	DisplayName   string       `json:"displayName,omitempty"`
	// Default marks the identity that a session certificate stands for when
	// the request names none.
	Default bool `json:"default,omitempty"`
	// Hosts are the only servers that the phone's rules let it be used for:
	// fingerprints of host keys. Empty: there are no such rules, or they name
	// servers otherwise, which only the phone can judge.
	Hosts []string `json:"hosts,omitempty"`
	// SecondWay: there is a way in without this phone's copy, as far as the phone knows. A
	// backup with the key was saved, the passkey has copies, or its person has said so.
	SecondWay bool `json:"secondWay,omitempty"`
}

// Check reports what is malformed.
func (k *RemoteSignerPublicKey) Check() error {
	return cmp.Or(
		checkSize("publicKeyBlob", k.PublicKeyBlob, 1, MaxBlobSize),
		checkText("algorithm", k.Algorithm),
		checkText("comment", k.Comment),
		checkText("providerKind", string(k.ProviderKind)),
		checkText("displayName", k.DisplayName),
		checkTexts("hosts", k.Hosts, MaxHosts),
	)
}

// KeyListRequest asks the phone for its enabled identities.
type KeyListRequest struct{}

// Check reports what is malformed: nothing.
func (*KeyListRequest) Check() error { return nil }

// KeyListResponse answers a KeyListRequest.
type KeyListResponse struct {
	Keys []RemoteSignerPublicKey `json:"keys"`
}

// Check reports what is malformed.
func (r *KeyListResponse) Check() error {
	if len(r.Keys) > MaxKeys {
		return fmt.Errorf("over %d keys", MaxKeys)
	}
	for i := range r.Keys {
		if err := r.Keys[i].Check(); err != nil {
			return fmt.Errorf("key %d: %w", i, err)
		}
	}
	return nil
}

// ContextQuality says how much is known of what is being signed.
type ContextQuality string

// The context qualities. An agent never claims more than QualityClaimed;
// QualityVerified is the phone's own finding.
const (
	QualityUnknown  ContextQuality = "unknown"
	QualityClaimed  ContextQuality = "claimed"
	QualityVerified ContextQuality = "verified"
)

// Context is what the agent says of a request. Nothing in it is proof.
type Context struct {
	ContextQuality ContextQuality `json:"contextQuality"`
	HostName       string         `json:"hostName,omitempty"`
	// Programs is the requesting program and its parents, nearest first.
	Programs []string `json:"programs,omitempty"`
	// Account is the local account that the program runs as, where it is not the
	// agent's own: "root".
	Account string `json:"account,omitempty"`
	// Git is what a git signature is said to be for; nil if nothing is said.
	Git *GitObject `json:"git,omitempty"`
}

// GitObject describes a commit or tag that is to be signed, in the words of the
// computer. The signed bytes hold only its hash.
type GitObject struct {
	Kind       string `json:"kind"`       // "commit" or "tag"
	Subject    string `json:"subject"`    // first line of the message
	Author     string `json:"author"`     // "NAME <EMAIL>"; of a tag, the tagger
	Repository string `json:"repository"` // name of the working tree's folder
}

func (g *GitObject) check() error {
	if g == nil {
		return nil
	}
	return cmp.Or(
		checkText("kind", g.Kind),
		checkText("subject", g.Subject),
		checkText("author", g.Author),
		checkText("repository", g.Repository),
	)
}

func (c *Context) check() error {
	return cmp.Or(
		checkText("contextQuality", string(c.ContextQuality)),
		checkText("hostName", c.HostName),
		checkTexts("programs", c.Programs, 16),
		checkText("account", c.Account),
		c.Git.check(),
	)
}

// Asking is what every request to a person carries: who asks and within which
// window. Times are Unix milliseconds of the sender's clock.
type Asking struct {
	RequestID             string `json:"requestID"`
	SourceDeviceID        string `json:"sourceDeviceID"`
	SourceDeviceName      string `json:"sourceDeviceName"`
	Nonce                 []byte `json:"nonce"`
	IssuedAtMilliseconds  int64  `json:"issuedAtMilliseconds"`
	ExpiresAtMilliseconds int64  `json:"expiresAtMilliseconds"`
}

// NewAsking returns an Asking with a fresh request ID and nonce, whose window
// begins at now.
func NewAsking(deviceID, deviceName string, now time.Time, window time.Duration) Asking {
	return Asking{
		RequestID:             NewID(),
		SourceDeviceID:        deviceID,
		SourceDeviceName:      deviceName,
		Nonce:                 NewNonce(),
		IssuedAtMilliseconds:  now.UnixMilli(),
		ExpiresAtMilliseconds: now.Add(window).UnixMilli(),
	}
}

// ExpiresAt is the end of the window by the sender's clock.
func (a *Asking) ExpiresAt() time.Time { return time.UnixMilli(a.ExpiresAtMilliseconds) }

func (a *Asking) check() error {
	if a.IssuedAtMilliseconds < 0 { // so that no difference of the two overflows
		return errors.New("issuedAtMilliseconds is negative")
	}
	if a.ExpiresAtMilliseconds <= a.IssuedAtMilliseconds {
		return errors.New("window ends before it begins")
	}
	return cmp.Or(
		checkID(a.RequestID),
		checkText("sourceDeviceID", a.SourceDeviceID),
		checkText("sourceDeviceName", a.SourceDeviceName),
		checkSize("nonce", a.Nonce, NonceSize, NonceSize),
	)
}

// RemoteSignRequest asks for one signature by a phone-held key.
type RemoteSignRequest struct {
	Asking
	KeyAlgorithm   string  `json:"keyAlgorithm"`
	PublicKeyBlob  []byte  `json:"publicKeyBlob"`
	SignatureFlags uint32  `json:"signatureFlags"` // SSH_AGENT_RSA_SHA2_256, _512
	Origin         string  `json:"origin"`
	DataToSign     []byte  `json:"dataToSign"`
	Context        Context `json:"context"`
	// Bindings are the session bindings of the SSH client's connection, oldest
	// first: each the contents of session-bind@openssh.com behind its name
	// (OpenSSH PROTOCOL.agent section 1). Whoever reads them verifies them.
	Bindings [][]byte `json:"bindings,omitempty"`
}

// Check reports what is malformed.
func (r *RemoteSignRequest) Check() error {
	return cmp.Or(
		r.Asking.check(),
		checkText("keyAlgorithm", r.KeyAlgorithm),
		checkSize("publicKeyBlob", r.PublicKeyBlob, 1, MaxBlobSize),
		checkSize("dataToSign", r.DataToSign, 1, MaxDataSize),
		checkText("origin", r.Origin),
		r.Context.check(),
		checkBindings(r.Bindings),
	)
}

// SignResponse carries the SSH signature blob (RFC 4253 section 6.6: string
// format, string signature, and what a security key appends) or an error.
type SignResponse struct {
	RequestID string `json:"requestID"`
	Signature []byte `json:"signature,omitempty"`
	Error     *Error `json:"error,omitempty"`
}

// Check reports what is malformed.
func (r *SignResponse) Check() error {
	if (r.Error == nil) == (len(r.Signature) == 0) {
		return errors.New("needs either a signature or an error")
	}
	return cmp.Or(
		checkID(r.RequestID),
		checkSize("signature", r.Signature, 0, MaxBlobSize),
		r.Error.Check(),
	)
}

// CertificateRequest asks the phone's CA for a session certificate.
type CertificateRequest struct {
	Asking
	PublicKeyBlob            []byte   `json:"publicKeyBlob"` // the ephemeral key
	RequestedValiditySeconds int64    `json:"requestedValiditySeconds"`
	IdentityPublicKeyBlob    []byte   `json:"identityPublicKeyBlob,omitempty"`
	Principals               []string `json:"principals,omitempty"`
	Automatic                bool     `json:"automatic,omitempty"` // nobody pressed a button
}

// Check reports what is malformed.
func (r *CertificateRequest) Check() error {
	if r.RequestedValiditySeconds <= 0 {
		return errors.New("requestedValiditySeconds is not positive")
	}
	return cmp.Or(
		r.Asking.check(),
		checkSize("publicKeyBlob", r.PublicKeyBlob, 1, MaxBlobSize),
		checkSize("identityPublicKeyBlob", r.IdentityPublicKeyBlob, 0, MaxBlobSize),
		checkTexts("principals", r.Principals, MaxPrincipals),
	)
}

// CertificateResponse carries the certificate or an error. Validity is in Unix
// seconds and repeats what the certificate says.
type CertificateResponse struct {
	RequestID       string `json:"requestID"`
	CertificateBlob []byte `json:"certificateBlob,omitempty"`
	CAPublicKey     []byte `json:"caPublicKey,omitempty"`
	ValidAfter      uint64 `json:"validAfter,omitempty"`
	ValidBefore     uint64 `json:"validBefore,omitempty"`
	Error           *Error `json:"error,omitempty"`
}

// Check reports what is malformed.
func (r *CertificateResponse) Check() error {
	if (r.Error == nil) == (len(r.CertificateBlob) == 0) {
		return errors.New("needs either a certificate or an error")
	}
	return cmp.Or(
		checkID(r.RequestID),
		checkSize("certificateBlob", r.CertificateBlob, 0, MaxBlobSize),
		checkSize("caPublicKey", r.CAPublicKey, 0, MaxBlobSize),
		r.Error.Check(),
	)
}

// Received tells that the phone shows a request to its user.
type Received struct {
	RequestID string `json:"requestID"`
}

// Check reports what is malformed.
func (r *Received) Check() error { return checkID(r.RequestID) }

// Cancel withdraws a request: its SSH client went away, or another phone
// answered.
type Cancel struct {
	RequestID string `json:"requestID"`
}

// Check reports what is malformed.
func (r *Cancel) Check() error { return checkID(r.RequestID) }

func checkBindings(list [][]byte) error {
	if len(list) > MaxBindings {
		return fmt.Errorf("over %d bindings", MaxBindings)
	}
	for _, b := range list {
		if err := checkSize("bindings", b, 1, MaxBindingSize); err != nil {
			return err
		}
	}
	return nil
}

func checkVersion(v int) error {
	if v < 1 {
		return errors.New("protocolVersion missing")
	}
	return nil
}

func checkID(id string) error {
	if id == "" || len(id) > MaxIDSize {
		return errors.New("requestID missing or too long")
	}
	return checkText("requestID", id)
}

func checkSize(field string, b []byte, atLeast, atMost int) error {
	if len(b) < atLeast || len(b) > atMost {
		return fmt.Errorf("%s has %d bytes, want %d to %d", field, len(b), atLeast, atMost)
	}
	return nil
}

func checkText(field, s string) error {
	if len(s) > MaxNameSize {
		return fmt.Errorf("%s over %d bytes", field, MaxNameSize)
	}
	if !utf8.ValidString(s) || strings.IndexFunc(s, hostile) >= 0 {
		return fmt.Errorf("%s has characters that cannot be shown", field)
	}
	return nil
}

// hostile are characters that nobody sends: they move a terminal's cursor or
// reorder what is read. Others that Show replaces are not refused, since a newer
// program may know characters that this one does not.
func hostile(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs)
}

func checkTexts(field string, list []string, atMost int) error {
	if len(list) > atMost {
		return fmt.Errorf("over %d %s", atMost, field)
	}
	for _, s := range list {
		if err := checkText(field, s); err != nil {
			return err
		}
	}
	return nil
}
