package webui

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/browserphone/pagestate"
	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/relay"
	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

// computer is the other end of the phone's link, at the same hub: it asks what a test has
// it ask, in real SSH bytes, and checks what it is given.
type computer struct {
	*link.Node
	t     *testing.T
	core  *core
	id    device.ID
	name  string
	hub   *relay.Client
	offer *device.Offer // the last one
	stop  func()        // ends it, as somebody who closes the lid
}

// computer starts one that is not paired.
func (c *core) computer(name string) *computer {
	c.t.Helper()
	key, err := device.NewKey()
	if err != nil {
		c.t.Fatal(err)
	}
	trust := device.NewTrust(new(testkit.Document))
	o := &computer{t: c.t, core: c, id: key.ID(), name: name}
	if o.hub, err = relay.New(relay.Config{URL: hubURL, Open: c.open, Key: key, Allow: trust.IDs}); err != nil {
		c.t.Fatal(err)
	}
	o.Node = link.New(link.Config{
		Key: key, Trust: trust, Name: name, Handler: o, Routes: []link.Route{o.hub},
		Hello: func() wire.Hello { return wire.Hello{OpenSSHVersion: "OpenSSH_9.2p1"} },
	})
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = o.hub.Run(ctx) })
	run.Go(func() { _ = o.Node.Serve(ctx, o.hub.Listener()) })
	run.Go(func() { _ = o.Node.Run(ctx) })
	o.stop = sync.OnceFunc(func() { cancel(); run.Wait() })
	c.t.Cleanup(o.stop)
	return o
}

// LinkUp and what follows implement link.Handler.
func (o *computer) LinkUp(device.Peer, wire.Hello, string)                {}
func (o *computer) LinkDown(device.Peer, error)                           {}
func (o *computer) Unpaired(device.Peer)                                  {}
func (o *computer) Paired(device.Peer)                                    { o.hub.Refresh() }
func (o *computer) Serve(context.Context, *link.Request) (wire.Kind, any) { return "", nil }

// invites opens an invitation, and returns its text.
func (o *computer) invites() string {
	o.t.Helper()
	inv := device.NewInvitation(o.id, o.name, []string{relay.Route(hubURL)}, hubURL+"/")
	o.offer = device.NewOffer(inv, time.Now())
	o.Offer(o.offer)
	end, err := o.hub.Rendezvous(o.t.Context(), inv.RendezvousToken(), device.InvitationLife)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(end)
	return inv.URL()
}

// computer is a paired one of that name, connected.
func (p *tab) computer(name string) *computer {
	p.t.Helper()
	o := p.core.computer(name)
	p.call("pair", map[string]any{"invitation": o.invites()})
	waitFor(p.t, name+" is connected", func() bool {
		return slices.ContainsFunc(p.core.state().Computers, func(c pagestate.Computer) bool { return c.ID == o.id.String() && c.Connected })
	})
	return o
}

// nameless is the host of a login whose name the computer does not tell.
const nameless = "-"

// wanted is what a computer asks to have signed. The zero value is a login as deploy to
// web-1.example.org, by the key work, from a shell.
type wanted struct {
	key, user string
	host      string        // as the computer calls it
	answers   string        // the server that answers there, if it is another
	purpose   string        // of a signature that is no login
	sudo      string        // the command of sudo on that host, which is no login either
	unnamed   bool          // what is signed does not name the server, as with old clients
	within    time.Duration // how long the computer waits
}

// context is what is signed, with the server's proof of the session.
func (w wanted) context(key ssh.PublicKey) (data sshctx.Context, bindings [][]byte, err error) {
	if w.purpose != "" {
		return sshctx.Context{Kind: sshctx.SSHSIG, Namespace: w.purpose, HashAlgorithm: "sha512", Hash: random(64)}, nil, nil
	}
	if w.sudo != "" {
		return sshctx.Context{
			Kind: sshctx.Sudo, User: w.user, Service: "pam_ssh_agent_auth", Algorithm: key.Type(), PublicKey: key.Marshal(),
			Challenge: &sshctx.Challenge{
				Cookie: random(16), Account: w.user, Program: "sudo", Directory: "/srv", Host: w.host,
				Arguments: strings.Fields(w.sudo), Time: uint64(time.Now().Unix()),
			},
		}, nil, nil
	}
	seed := sha256.Sum256([]byte(cmp.Or(w.answers, w.host))) // each has its key
	server, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		return data, nil, err
	}
	data = sshctx.Context{
		Kind: sshctx.HostBound, SessionID: random(32), User: w.user, Service: "ssh-connection",
		Algorithm: key.Type(), PublicKey: key.Marshal(), HostKey: server.PublicKey().Marshal(),
	}
	proof, err := server.Sign(rand.Reader, data.SessionID)
	if err != nil {
		return data, nil, err
	}
	binding := sshctx.Binding{HostKey: data.HostKey, SessionID: data.SessionID, Signature: ssh.Marshal(proof)}
	if w.unnamed {
		data.Kind, data.HostKey = sshctx.UserAuth, nil
	}
	return data, [][]byte{binding.Marshal()}, nil
}

// asks sends a request for a signature.
func (o *computer) asks(w wanted) *asked {
	o.t.Helper()
	w.key, w.user, w.host = cmp.Or(w.key, "work"), cmp.Or(w.user, "deploy"), cmp.Or(w.host, "web-1.example.org")
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(o.core.identity(w.key).PublicKey))
	if err != nil {
		o.t.Fatalf("the phone's key %s: %v", w.key, err)
	}
	data, bindings, err := w.context(key)
	if err != nil {
		o.t.Fatal(err)
	}
	said := wire.Context{ContextQuality: wire.QualityClaimed, Programs: []string{"ssh", "zsh", "tmux"}}
	if w.host != nameless && w.purpose == "" && w.sudo == "" {
		said.HostName = w.host
	}
	r := &wire.RemoteSignRequest{
		Asking:       wire.NewAsking(o.id.String(), o.name, time.Now(), cmp.Or(w.within, wire.Window)),
		KeyAlgorithm: key.Type(), PublicKeyBlob: key.Marshal(), Origin: wire.Origin, DataToSign: data.Marshal(), Context: said, Bindings: bindings,
	}
	return o.sends(wire.KindSignRequest, r.RequestID, r, func(e wire.Envelope) error {
		var answer wire.SignResponse
		var signature ssh.Signature
		if err := wire.DecodeBody(e, &answer); err != nil || answer.Error != nil {
			return cmp.Or[error](err, answer.Error)
		}
		if err := ssh.Unmarshal(answer.Signature, &signature); err != nil {
			return err
		}
		return sshctx.VerifySignature(key, r.DataToSign, &signature)
	})
}

// asksForCertificate asks for a session certificate, which is there once it is signed: by
// itself, or because somebody wants one.
func (o *computer) asksForCertificate(automatic bool) (*asked, *ssh.Certificate) {
	o.t.Helper()
	r := &wire.CertificateRequest{
		Asking:        wire.NewAsking(o.id.String(), o.name, time.Now(), wire.Window),
		PublicKeyBlob: wiretest.NewSigner(o.t).PublicKey().Marshal(), RequestedValiditySeconds: 28800, Automatic: automatic,
	}
	issued := &ssh.Certificate{}
	return o.sends(wire.KindCertificateRequest, r.RequestID, r, func(e wire.Envelope) error {
		var answer wire.CertificateResponse
		if err := wire.DecodeBody(e, &answer); err != nil || answer.Error != nil {
			return cmp.Or[error](err, answer.Error)
		}
		cert, err := sshctx.ParseCertificate(answer.CertificateBlob)
		if err == nil && !bytes.Equal(cert.Key.Marshal(), r.PublicKeyBlob) {
			err = errors.New("a certificate for another key")
		}
		if err == nil {
			*issued = *cert
		}
		return err
	}), issued
}

// asked is a request that waits for the phone.
type asked struct {
	t        *testing.T
	withdraw func()     // takes it back, as when its program is ended
	done     chan error // nil: what was asked for, and it is right
}

func (o *computer) sends(kind wire.Kind, id string, body any, check func(wire.Envelope) error) *asked {
	ctx, cancel := context.WithCancel(context.Background())
	a := &asked{t: o.t, withdraw: cancel, done: make(chan error, 1)}
	var run sync.WaitGroup
	run.Go(func() {
		e, err := o.Ask(ctx, o.core.key.ID(), kind, id, body, nil)
		if err == nil {
			err = check(e)
		}
		a.done <- err
	})
	o.t.Cleanup(func() { cancel(); run.Wait() })
	return a
}

// signed waits for the signature or the certificate.
func (a *asked) signed() {
	a.t.Helper()
	a.refused("")
}

// refused waits for a refusal.
func (a *asked) refused(code wire.Code) {
	a.t.Helper()
	select {
	case err := <-a.done:
		if wire.CodeOf(err) != code {
			a.t.Errorf("answered with %v, want %q", err, code)
		}
	case <-time.After(patience):
		a.t.Fatal("the computer has no answer")
	}
}

func random(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.Read(b) // it never fails
	return b
}
