package agent

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/agent/certificate"
	"vmux/internal/agent/origin"
	"vmux/internal/control"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// A host key of a type that is newer than vmux: the certificate signs nowhere near
// it, whatever is allowed besides; a phone-held key is asked for, with the bindings.
func TestCertificateAndHostKeysThatCannotBeRead(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		var got wire.RemoteSignRequest
		p.signing(key, func(_ context.Context, r *wire.RemoteSignRequest, received func()) error {
			got = *r
			received()
			return nil
		})
		w.certify(p)
		w.use.Forward, w.use.Unbound = true, origin.UnboundAlways
		blob, mine, server := w.listedCertificate(), key.PublicKey().Marshal(), newSigner(t).PublicKey().Marshal()
		odd := sshctx.AppendString(sshctx.AppendString(nil, []byte("ssh-mldsa44-ed25519")), make([]byte, 1344))
		id, hop := bytes.Repeat([]byte("s"), 32), bytes.Repeat([]byte("h"), 32)
		bound := func(hostKey, id []byte, forwarding bool) sshctx.Binding {
			return sshctx.Binding{HostKey: hostKey, SessionID: id, Signature: make([]byte, wire.MaxBindingSize), Forwarding: forwarding}
		}
		for _, test := range []struct {
			name     string
			hostKey  []byte // in the bytes; nil: plain
			bindings []sshctx.Binding
		}{
			{"its login", nil, []sshctx.Binding{bound(odd, id, false)}},
			{"its host-bound login", odd, []sshctx.Binding{bound(odd, id, false)}},
			{"its host-bound login, not bound", odd, nil},
			{"through it", server, []sshctx.Binding{bound(odd, hop, true)}},
			{"through it, and bound there", server, []sshctx.Binding{bound(odd, hop, true), {HostKey: server, SessionID: id}}},
		} {
			data := func(key []byte, algorithm string) []byte {
				c := sshctx.Context{
					Kind: sshctx.UserAuth, SessionID: id, User: "root", Service: "ssh-connection", Algorithm: algorithm, PublicKey: key,
				}
				if test.hostKey != nil {
					c.Kind, c.HostKey = sshctx.HostBound, test.hostKey
				}
				return c.Marshal()
			}
			c := own
			c.Bindings = test.bindings
			if len(c.Bindings) > 0 && strings.Contains(commentsOf(w.Listing(w.t.Context(), c)), certificate.Comment) {
				t.Errorf("%s: the certificate is listed", test.name)
			}
			signature, ok, err := w.SignLocal(c, blob, data(blob, sshctx.KeyType(blob)), 0)
			if e := control.AsError(err); !ok || signature != nil || e.Code != wire.CodePolicyDenied ||
				!strings.Contains(e.Sentence, "cannot check the server's host key (ssh-mldsa44-ed25519)") || !strings.Contains(e.Hint, "ssh -o HostKeyAlgorithms=") {
				t.Errorf("%s: %d bytes, %v, %+v", test.name, len(signature), ok, e)
			}
			if _, err := w.Sign(t.Context(), sshagent.SignRequest{Connection: c, Blob: mine, Data: data(mine, key.PublicKey().Type())}); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			if len(got.Bindings) != len(c.Bindings) {
				t.Errorf("%s: the phone was told of %d bindings", test.name, len(got.Bindings))
			}
		}
		// A certificate of one that is longer than any request may be.
		c := own
		c.Bindings = []sshctx.Binding{bound(append(odd, make([]byte, wire.MaxBindingSize)...), id, false)}
		_, err := w.Sign(t.Context(), sshagent.SignRequest{Connection: c, Blob: mine, Data: loginBy(mine, id)})
		if e := control.AsError(err); e.Code != wire.CodePolicyDenied || !strings.Contains(e.Hint, "HostKeyAlgorithms") {
			t.Errorf("too long: %+v", e)
		}
		// The server took the key: it is offered there again, and the reason told again.
		for i := range uint64(3) {
			c = w.connects(i+1, c)
			if got := commentsOf(c.Listed); got != "mine" {
				t.Errorf("too long, login %d: listed %q", i+1, got)
			}
			w.Sign(t.Context(), sshagent.SignRequest{Connection: c, Blob: mine, Data: loginBy(mine, id)})
			w.memory.Closed(c)
		}
	})
}
