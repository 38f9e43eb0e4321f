package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/relay"
	"vmux/internal/nativephone/terminal"
	"vmux/internal/signer"
	"vmux/internal/signer/identity"
	"vmux/internal/testkit"
	"vmux/internal/wire"
	"vmux/test/web"
)

// measureRelayed asks a phone that approves at once, through a hub: the agent's
// program, a hub in a process of its own, and in this process the native phone's
// link and signer, with its key in memory.
func (b *bench) measureRelayed() {
	url, hub := b.startRole("hub", b.TempDir())
	agent := web.RunAgent(b, b.world.program, url)
	b.startRelayedPhone(url, agent)
	held := b.vmux
	held.socket, held.blob = agent.Socket, b.onlyKey("the phone's key", agent.Socket)
	var ours, theirs, ours99, theirs99 []float64
	b.onOneProcessor(func() {
		for range b.rounds {
			s, err := load(signing(held), 1, b.duration)
			b.must(err)
			local, err := load(signing(b.agent9), 1, b.duration)
			b.must(err)
			ours, ours99 = append(ours, s.p50), append(ours99, s.p99)
			theirs, theirs99 = append(theirs, local.p50), append(theirs99, local.p99)
		}
	}, hub, agent.Process())
	what := "sign by the phone through a hub, approved at once, one CPU"
	b.table.add(row{what + ", p50", b.agent9.name + ", local", seconds, ours, theirs, atMost(0.45)})
	b.table.add(row{what + ", p99", b.agent9.name + ", local", seconds, ours99, theirs99, target{}})
	b.table.note("through a hub: the phone is the native one's link and signer within this program, its key in memory")
}

// relayedPhone answers with the real signer.
type relayedPhone struct {
	echoHandler
	signer *signer.Signer
}

func (p *relayedPhone) Serve(ctx context.Context, r *link.Request) (wire.Kind, any) {
	return p.signer.Serve(ctx, r.From, r.Envelope, r.Received)
}

// startRelayedPhone pairs a phone with the agent through the hub alone.
func (b *bench) startRelayedPhone(url string, agent *web.Agent) {
	e := b.newLinkEnd(url, nil)
	held, _ := b.newSigner(time.Now)
	handler := &relayedPhone{signer: held}
	e.node = link.New(link.Config{
		Key: e.key, Trust: e.trust, Name: "bench", Hello: handler.signer.Hello, Handler: handler,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	b.Cleanup(func() { cancel(); parts.Wait() })
	parts.Go(func() { _ = e.hub.Run(ctx) })
	parts.Go(func() { _ = e.node.Run(ctx) })
	parts.Go(func() { _ = e.node.Serve(ctx, e.hub.Listener()) })
	text, paired := agent.Invite()
	invitation, err := device.ParseInvitation(text)
	b.must(err)
	_, err = e.node.Pair(ctx, invitation, []string{relay.Route(url)}, e.hub)
	b.must(err)
	e.hub.Refresh()
	paired()
}

// newSigner has one key.
func (b *bench) newSigner(now func() time.Time) (*signer.Signer, inMemory) {
	keys := inMemory{}
	s, err := signer.New(signer.Config{
		Store: &testkit.Documents{}, Approver: terminal.Always(nil, func(string) {}), Now: now,
		Providers: map[string]identity.Provider{"memory": keys},
	})
	b.must(err)
	b.must(s.Identities.Add(keys.add(b, "bench")))
	return s, keys
}

// inMemory holds keys, by their public keys, that no passphrase protects: how slow
// that is to try is not what is measured.
type inMemory map[string]ssh.Signer

func (k inMemory) add(b *bench, label string) identity.Identity {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.must(err)
	key, err := ssh.NewSignerFromKey(private)
	b.must(err)
	public := key.PublicKey()
	k[string(public.Marshal())] = key
	return identity.Identity{Label: label, Algorithm: public.Type(), PublicKey: public.Marshal(), Enabled: true, Provider: "memory"}
}

func (inMemory) Kind() wire.ProviderKind { return wire.ProviderUnknown }

func (k inMemory) Sign(_ context.Context, id identity.Identity, data []byte, _ string, _ identity.Unlock) (*ssh.Signature, error) {
	return k[string(id.PublicKey)].Sign(rand.Reader, data)
}
