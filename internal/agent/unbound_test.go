package agent

import (
	"context"
	"crypto/rand"
	"os"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/ssh"

	"vmux/internal/agent/client"
	"vmux/internal/control"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// attacker: a program on a host that the agent is forwarded to, by a client that
// does not say so. What is no login by the certificate would be signed without
// anybody being asked: a file, a commit, a challenge of another protocol.
func TestCertificateSignsOnlyLoginsThatNameIt(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		blob, random := w.listedCertificate(), make([]byte, 32)
		_, _ = rand.Read(random)
		cert, err := ssh.ParsePublicKey(blob)
		if err != nil {
			t.Fatal(err)
		}
		plain := cert.(*ssh.Certificate).Key.Marshal()
		for name, data := range map[string][]byte{
			"nothing":  nil,
			"32 bytes": random,
			"a file":   sshctx.Context{Kind: sshctx.SSHSIG, Namespace: "file", HashAlgorithm: "sha512", Hash: make([]byte, 64)}.Marshal(),
			"a login that names the certificate's bare key": loginBy(plain, random),
			"a login and a byte":                            append(loginBy(blob, random), 0),
		} {
			for _, choice := range []UnboundCertificate{UnboundFirst, UnboundAlways} {
				w.cfg.UnboundCertificate = choice
				signature, ok, err := w.SignLocal(own, blob, data, 0)
				if !ok || wire.CodeOf(err) != wire.CodePolicyDenied || signature != nil {
					t.Errorf("%s (%s): %d bytes, %v, %v", name, choice, len(signature), ok, err)
				}
			}
		}
		w.cfg.UnboundCertificate = UnboundFirst
		if !w.signsLogin(blob) {
			t.Error("a login that names the certificate is refused")
		}
		for choice, want := range map[UnboundCertificate]bool{UnboundAlways: true, UnboundNever: false, UnboundFirst: false} {
			w.cfg.UnboundCertificate = choice
			if _, ok, err := w.SignLocal(own, blob, loginBy(blob, random), 0); !ok || (err == nil) != want {
				t.Errorf("a second session, %s: %v, %v", choice, ok, err)
			}
		}
	})
}

// certify connects a phone that signs, and gets a session certificate from it.
func (w *world) certify(p *phone) {
	w.t.Helper()
	signs := p.answer
	p.does(func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error) {
		if kind == wire.KindCertificateRequest {
			return p.approve(ctx, kind, body, received)
		}
		return signs(ctx, kind, body, received)
	})
	p.hello.CAPublicKey = p.ca.PublicKey().Marshal()
	w.connect(p)
	synctest.Wait()
	if _, err := w.RequestCertificate(w.t.Context(), control.CertificateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// attacker: root on a host that was logged in to by a phone-held key, by a client
// that forwards the agent and does not bind. The first session that the certificate
// would sign for is not the client's own.
func TestLoginByPhoneHeldKeyIsTheFirstSession(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, approves)
		w.certify(p)
		blob, mine := w.listedCertificate(), key.PublicKey().Marshal()
		r := sshagent.SignRequest{Connection: own, Blob: mine, Data: loginBy(mine, []byte("01234567890123456789"))}
		if _, err := w.Sign(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if w.signsLogin(blob) {
			t.Error("the certificate signs for another session than the client's own")
		}
	})
}

// Processes that have ended make room, and no more are remembered than the limit.
func TestUnboundProcessesAreForgotten(t *testing.T) {
	var u unboundSessions
	for range 2 { // the first session stays the first
		if !u.take(own.Peer.PID, []byte("a")) {
			t.Fatal("the first session is refused")
		}
	}
	if u.take(own.Peer.PID, []byte("b")) {
		t.Fatal("a second session is taken")
	}
	for pid := range maxUnbound {
		u.first[client.ID{PID: -1 - pid}] = [32]byte{}
	}
	if u.take(own.Peer.PID, []byte("b")) {
		t.Error("another session after many other processes")
	}
	if parent, ok := client.ProcessOf(own.Peer.PID); !ok || !u.take(parent.Parent, []byte("b")) || len(u.first) != 2 {
		t.Errorf("%d processes are remembered, of which two run", len(u.first))
	}
}

// attacker: a bastion that the agent is forwarded to binds by what cannot be verified,
// and then locks, unlocks or empties the agent.
func TestUnprovenConnectionsDoNotManage(t *testing.T) {
	a := &Agent{}
	here := sshagent.Connection{Peer: sshagent.Peer{PID: os.Getpid()}}
	if !a.mayManage(here) {
		t.Error("a program of this computer may not")
	}
	here.Unproven = true
	if a.mayManage(here) {
		t.Error("an unproven connection may")
	}
}
