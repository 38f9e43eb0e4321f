package browserphone

import (
	"errors"

	"vmux/internal/browserphone/pagestate"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/signer/authority"
	"vmux/internal/signer/identity"
	"vmux/internal/webauthn"
	"vmux/internal/wire"
)

// State returns all that the page shows, but for what the browser alone knows.
func (p *Phone) State() (pagestate.State, error) {
	s := pagestate.State{
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

func (p *Phone) hubState() pagestate.Hub {
	s := pagestate.Hub{URL: p.cfg.HubURL}
	if hub, _ := p.running(); hub != nil {
		status := hub.Status()
		s.Connected, s.Error, s.VAPIDKey = status.Connected, hubError(status), status.VAPIDKey
	}
	return s
}

func (p *Phone) vaultState() (*pagestate.Vault, error) {
	info, err := p.vault.Info()
	if errors.Is(err, identity.ErrNoVault) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n, err := p.vault.Keys()
	return &pagestate.Vault{BackupEligible: info.BackupEligible, BackedUp: info.BackedUp, Keys: n}, err
}

func (p *Phone) computers() ([]pagestate.Computer, error) {
	peers, err := p.trust.Peers()
	if err != nil {
		return nil, err
	}
	var links []link.PeerStatus
	if _, node := p.running(); node != nil {
		links = node.Peers()
	}
	return pagestate.Computers(peers, links), nil
}

// nameOf is how a computer is shown.
func (p *Phone) nameOf(peer device.Peer) wire.Text {
	peers, err := p.trust.Peers()
	if err != nil {
		p.cfg.Log.Error("paired computers", "err", err)
	}
	return pagestate.NameAmong(peers, peer)
}

func (p *Phone) identities(computers []pagestate.Computer) ([]pagestate.Identity, error) {
	ids, err := p.signer.Identities.All()
	if err != nil {
		return nil, err
	}
	return pagestate.Identities(ids, p.credential, computers), nil
}

// credential is the passkey that a key is, or that opens the vault that it lies in.
func (p *Phone) credential(id identity.Identity) (webauthn.Credential, error) {
	if id.Provider == identity.ProviderVault {
		info, err := p.vault.Info()
		return info.Credential, err
	}
	return p.passkeys.Credential(id)
}

func (p *Phone) ca() (*pagestate.CA, error) {
	ca, err := p.signer.CA.Get()
	if errors.Is(err, authority.ErrNoCA) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return pagestate.CAOf(ca), nil
}
