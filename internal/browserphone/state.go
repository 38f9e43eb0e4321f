package browserphone

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"vmux/internal/browserphone/secondway"
	"vmux/internal/browserphone/sheets"
	"vmux/internal/confusable"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/signer/authority"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// State is what the page shows. Times are Unix milliseconds, 0 if there is none.
type State struct {
	Version     string      `json:"version"`
	Hub         HubState    `json:"hub"`
	DeviceName  string      `json:"deviceName"`
	DeviceID    string      `json:"deviceID"`
	RPID        string      `json:"rpID"`
	RPProblem   string      `json:"rpProblem,omitempty"`
	Push        bool        `json:"push"` // its person wants it to be woken
	PushProblem string      `json:"pushProblem,omitempty"`
	Vault       *VaultState `json:"vault"`
	Passphrases int         `json:"passphrases"` // keys in the vault that a passphrase opens

	SecondWay secondway.State `json:"secondWay"`

	Computers    []Computer     `json:"computers"`
	Identities   []Identity     `json:"identities"`
	CA           *CA            `json:"ca"`
	Certificates []Certificate  `json:"certificates"`
	Grants       GrantState     `json:"grants"`
	Pauses       []Pause        `json:"pauses"`
	Sheets       []sheets.Sheet `json:"sheets"`
}

// HubState is how it stands with the hub.
type HubState struct {
	URL       string `json:"url"`
	Connected bool   `json:"connected"`
	Error     string `json:"error,omitempty"`
	VAPIDKey  string `json:"vapidKey,omitempty"`
}

// VaultState is what there is to know of the vault.
type VaultState struct {
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

// State returns all that the page shows, but for what the browser alone knows.
func (p *Phone) State() (State, error) {
	s := State{
		Version: p.cfg.Version, Hub: p.hubState(), DeviceName: p.name(), DeviceID: p.cfg.Key.ID().String(),
		RPID: p.cfg.Host, RPProblem: p.passkeyProblem(), Sheets: p.sheets.Sheets(),
	}
	set, err := p.settings()
	s.Push, s.PushProblem = err == nil && set.Push, set.PushProblem
	if s.SecondWay, err = p.secondWay(set); err != nil {
		return s, err
	}
	computers, err := p.computers()
	if err != nil {
		return s, err
	}
	s.Computers = computers
	if s.Identities, err = p.identities(computers); err != nil {
		return s, err
	}
	if s.CA, err = p.ca(); err != nil {
		return s, err
	}
	if s.Certificates, err = p.certificates(); err != nil {
		return s, err
	}
	s.Grants, s.Pauses = p.grants(), p.pauses()
	if s.Passphrases, err = p.typed.Keys(); err != nil {
		return s, err
	}
	s.Vault, err = p.vaultState()
	return s, err
}

func (p *Phone) hubState() HubState {
	s := HubState{URL: p.cfg.HubURL}
	if hub, _ := p.running(); hub != nil {
		status := hub.Status()
		s.Connected, s.Error, s.VAPIDKey = status.Connected, hubError(status), status.VAPIDKey
	}
	return s
}

func (p *Phone) vaultState() (*VaultState, error) {
	info, err := p.vault.Info()
	if errors.Is(err, identity.ErrNoVault) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n, err := p.vault.Keys()
	return &VaultState{BackupEligible: info.BackupEligible, BackedUp: info.BackedUp, Keys: n}, err
}

func (p *Phone) computers() ([]Computer, error) {
	peers, err := p.trust.Peers()
	if err != nil {
		return nil, err
	}
	status := map[string]link.PeerStatus{}
	if _, node := p.running(); node != nil {
		for _, s := range node.Peers() {
			status[s.ID.String()] = s
		}
	}
	list := []Computer{}
	for _, peer := range peers {
		c := Computer{ID: peer.ID.String(), Name: nameAmong(peers, peer)}
		s := status[c.ID]
		c.Connected, c.Connecting, c.Since = s.Connected, s.Connecting, milliseconds(s.Since)
		c.ClockDifferenceSeconds = int64(s.ClockDifference / time.Second)
		c.OpenSSHVersion = s.Hello.OpenSSHVersion
		if s.LastError != nil {
			c.LastError = wire.Clean(s.LastError.Error())
		}
		list = append(list, c)
	}
	return list, nil
}

// nameOf is how a computer is shown.
func (p *Phone) nameOf(peer device.Peer) wire.Text {
	peers, err := p.trust.Peers()
	if err != nil {
		p.cfg.Log.Error("paired computers", "err", err)
	}
	return nameAmong(peers, peer)
}

// nameAmong is a computer's name; where another one has it too, or one that looks
// like it, or it has brackets as around an ID, with the beginning of its device ID.
// Computers name themselves, at any time, and one could take the name of another, with
// its ID, to have its requests taken for the other's.
func nameAmong(peers []device.Peer, peer device.Peer) wire.Text {
	name, withID := peer.Name.String(), wire.Say("%s (%s)", peer.Name, wire.Clean(peer.ID.Short()))
	if strings.IndexFunc(name, func(r rune) bool { return unicode.In(r, unicode.Ps, unicode.Pe) }) >= 0 {
		return withID
	}
	for _, other := range peers {
		if other.ID != peer.ID && confusable.Alike(other.Name.String(), name) {
			return withID
		}
	}
	return peer.Name
}

func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func (p *Phone) identities(computers []Computer) ([]Identity, error) {
	ids, err := p.signer.Identities.All()
	if err != nil {
		return nil, err
	}
	list := []Identity{}
	for _, id := range ids {
		i := Identity{
			Fingerprint: id.Fingerprint(), Label: id.Label, Algorithm: id.Algorithm, Kind: id.Provider,
			Enabled: id.Enabled, Default: id.Default, CreatedAt: milliseconds(id.CreatedAt),
			Principals: slices.Clone(id.Principals), AuthorizedKey: line(id), PublicKey: id.AuthorizedKey(),
		}
		if i.Principals == nil {
			i.Principals = []string{}
		}
		if !id.Rules.IsZero() {
			i.Rules = &id.Rules
		}
		p.describeKey(id, &i, computers)
		list = append(list, i)
	}
	return list, nil
}

// describeKey adds what follows from where the private key lives.
func (p *Phone) describeKey(id identity.Identity, i *Identity, computers []Computer) {
	switch id.Provider {
	case identity.ProviderPassphrase:
		return
	case identity.ProviderVault:
		if info, err := p.vault.Info(); err == nil {
			i.BackedUp, i.BackupEligible = &info.BackedUp, info.BackupEligible
		} else {
			i.Warning = "The vault of this key is missing: it cannot sign."
		}
		return
	}
	c, err := p.passkeys.Credential(id)
	if err != nil {
		i.Warning = "What this phone knew of the passkey is missing: it cannot sign."
		return
	}
	i.BackedUp, i.BackupEligible = &c.BackedUp, c.BackupEligible
	var old []string
	for _, computer := range computers {
		if tooOld(computer.OpenSSHVersion) {
			old = append(old, computer.Name.String()+" ("+computer.OpenSSHVersion+")")
		}
	}
	if len(old) > 0 {
		i.Warning = wire.Show("The SSH client is too old for passkeys on " + strings.Join(old, ", ") +
			": OpenSSH 10.3 or newer is needed there. A vault key works with every client.")
	}
}

// tooOld reports whether an OpenSSH client refuses passkeys' signatures. An
// unknown one is not called old.
func tooOld(version string) bool {
	_, number, found := strings.Cut(version, "OpenSSH_")
	number, _, _ = strings.Cut(strings.TrimPrefix(number, "for_Windows_"), "p")
	first, second, _ := strings.Cut(number, ".")
	major, err := strconv.Atoi(first)
	if !found || err != nil {
		return false
	}
	minor, err := strconv.Atoi(second)
	return err == nil && (major < 10 || major == 10 && minor < 3)
}

func (p *Phone) ca() (*CA, error) {
	ca, err := p.signer.CA.Get()
	if errors.Is(err, authority.ErrNoCA) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	hint := "Put the line into a file on the server, for example /etc/ssh/vmux_ca.pub, and into sshd_config: TrustedUserCAKeys /etc/ssh/vmux_ca.pub"
	if ca.Provider == identity.ProviderPasskey {
		hint += fmt.Sprintf("\nOpenSSH before 10.3 also needs: CASignatureAlgorithms +%s", sshctx.FormatWebAuthn)
	}
	policy := ca.Policy
	for _, list := range []*[]string{&policy.Principals, &policy.Extensions, &policy.SourceAddress} {
		if *list == nil {
			*list = []string{}
		}
	}
	return &CA{
		Fingerprint: sshctx.Fingerprint(ca.PublicKey), Kind: ca.Provider, Line: ca.AuthorizedKey(),
		Policy: policy, ServerHint: hint,
	}, nil
}
