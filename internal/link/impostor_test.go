package link

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// attacker: he answers as the inviting device, whose device key he has got hold of,
// and does not know the invitation. The phone trusts nobody who has not proved to
// know it: not for zeros, nor for its own one sent back, nor for that of another
// invitation.
func TestPhoneWantsTheAgentsProof(t *testing.T) {
	type proofs func(inv, other device.Invitation, cs *tls.ConnectionState, asked []byte) []byte
	for name, answer := range map[string]proofs{
		"zeros": func(_, _ device.Invitation, _ *tls.ConnectionState, asked []byte) []byte {
			return make([]byte, len(asked))
		},
		"the phone's, sent back": func(_, _ device.Invitation, _ *tls.ConnectionState, asked []byte) []byte { return asked },
		"of another invitation": func(_, other device.Invitation, cs *tls.ConnectionState, _ []byte) []byte {
			return agentProof(t, other, cs)
		},
		"the right one": func(inv, _ device.Invitation, cs *tls.ConnectionState, _ []byte) []byte {
			return agentProof(t, inv, cs)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				agent, phone, m, offer := inviting(t)
				defer phone.Close()
				defer agent.Close()
				phone.handler = nil // it only pairs
				other := device.NewInvitation(agent.id, "laptop", []string{"memory:x"}, "")
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					config := baseTLS(agent.key, func(device.ID) error { return nil })
					tc := must(agent.Node.handshake(t.Context(), tls.Server(must(m.Accept()), config)))
					cs := tc.ConnectionState()
					r := &raw{newConn(tc), t}
					r.next() // its hello
					_ = r.send("h", wire.KindHello, agent.Node.hello(true))
					var asked wire.PairRequest
					if err := wire.DecodeBody(r.next(), &asked); err != nil {
						t.Error(err)
					}
					proof := answer(offer.Invitation(), other, &cs, asked.Proof)
					_ = r.send("p", wire.KindPairResponse, wire.PairResponse{Proof: proof, DeviceName: "laptop"})
					_, _ = r.read(wire.MaxEnvelopeSize) // until the phone has closed it
					r.finish()
				}()
				_, err := phone.Pair(t.Context(), offer.Invitation(), nil)
				<-ended
				_, known := phone.trust.Get(agent.id)
				if name == "the right one" { // or this test would show nothing
					if err != nil || known != nil {
						t.Errorf("with the right proof: %v, %v", err, known)
					}
					return
				}
				if !errors.Is(err, device.ErrWrongProof) || !errors.Is(known, device.ErrNotPaired) {
					t.Errorf("%v, and the phone's trust: %v", err, known)
				}
			})
		})
	}
}

// agentProof is what an agent that has made the invitation answers.
func agentProof(t *testing.T, inv device.Invitation, cs *tls.ConnectionState) []byte {
	t.Helper()
	proof, err := inv.PhoneProof(cs)
	if err != nil {
		t.Error(err)
	}
	answer, err := device.NewOffer(inv, time.Now()).Redeem(cs, proof, time.Now())
	if err != nil {
		t.Error(err)
	}
	return answer
}

// The handshake proves the key of the first certificate alone: a second one must
// not be there, for whoever would read it.
func TestOneCertificateProvesOneDevice(t *testing.T) {
	one, two := leaf(), leaf()
	for n, list := range [][]*x509.Certificate{nil, {one}, {one, two}, {two, one, one}} {
		id, err := peerID(&tls.ConnectionState{PeerCertificates: list})
		if ok := len(list) == 1; ok != (err == nil) || ok && id != device.IDOf(one) {
			t.Errorf("%d: %v, %v", n, id, err)
		}
	}
}

func leaf() *x509.Certificate {
	return must(device.NewKey()).Certificate().Leaf
}
