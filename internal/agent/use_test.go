package agent

import (
	"context"
	"crypto/rand"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/ssh"

	"vmux/internal/agent/origin"
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
			"sudo's challenge": sshctx.Context{
				Kind: sshctx.Sudo, User: "root", Service: "pam_ssh_agent_auth", Algorithm: cert.Type(), PublicKey: blob,
				Challenge: &sshctx.Challenge{Cookie: make([]byte, 16), Account: "root", Program: "sudo"},
			}.Marshal(),
			"a file": sshctx.Context{Kind: sshctx.SSHSIG, Namespace: "file", HashAlgorithm: "sha512", Hash: make([]byte, 64)}.Marshal(),
			"a login that names the certificate's bare key": loginBy(plain, random),
			"a login and a byte":                            append(loginBy(blob, random), 0),
		} {
			for _, choice := range []origin.Unbound{origin.UnboundFirst, origin.UnboundAlways} {
				w.use.Unbound = choice
				signature, ok, err := w.SignLocal(own, blob, data, 0)
				if !ok || wire.CodeOf(err) != wire.CodePolicyDenied || signature != nil {
					t.Errorf("%s (%s): %d bytes, %v, %v", name, choice, len(signature), ok, err)
				}
			}
		}
		w.use.Unbound = origin.UnboundFirst
		if !w.signsLogin(blob) {
			t.Error("a login that names the certificate is refused")
		}
		for choice, want := range map[origin.Unbound]bool{
			origin.UnboundAlways: true, origin.UnboundNever: false, origin.UnboundFirst: false,
		} {
			w.use.Unbound = choice
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
