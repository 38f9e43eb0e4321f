package agent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
	sshagentclient "golang.org/x/crypto/ssh/agent"

	"vmux/internal/agent/certificate"
	"vmux/internal/agent/journal"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/sshdtest"
	"vmux/internal/wire"
)

// signing makes a phone that holds key and decides by decide.
func (p *phone) signing(key ssh.Signer, decide func(ctx context.Context, r *wire.RemoteSignRequest, received func()) error) {
	p.mu.Lock()
	p.keys = []wire.RemoteSignerPublicKey{remoteKey(key, "mine")}
	p.mu.Unlock()
	p.does(func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error) {
		r, ok := body.(*wire.RemoteSignRequest)
		if !ok {
			return p.approve(ctx, kind, body, received)
		}
		p.note(&wire.CertificateRequest{Asking: r.Asking})
		if err := decide(ctx, r, received); err != nil {
			return wire.KindSignResponse, wire.SignResponse{RequestID: r.RequestID, Error: wire.AsError(err)}, nil
		}
		signature, err := key.Sign(rand.Reader, r.DataToSign)
		if err != nil {
			panic(err)
		}
		return wire.KindSignResponse, wire.SignResponse{RequestID: r.RequestID, Signature: ssh.Marshal(signature)}, nil
	})
}

func approves(_ context.Context, _ *wire.RemoteSignRequest, received func()) error {
	received()
	return nil
}

func denies(_ context.Context, _ *wire.RemoteSignRequest, received func()) error {
	received()
	return wire.NewError(wire.CodeUserDenied)
}

// silent shows the request and never answers.
func silent(ctx context.Context, _ *wire.RemoteSignRequest, received func()) error {
	received()
	<-ctx.Done()
	return ctx.Err()
}

// inSigning runs a test in virtual time, with a phone without a CA.
func inSigning(t *testing.T, f func(t *testing.T, w *world, p *phone, key ssh.Signer)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.addPhone(1, "phone")
		p.hello = wire.Hello{}
		f(t, w, p, newSigner(t))
		w.stop()
	})
}

func request(key ssh.Signer, session string) sshagent.SignRequest {
	blob := key.PublicKey().Marshal()
	id := sha256.Sum256([]byte(session))
	data := sshctx.Context{
		Kind: sshctx.UserAuth, SessionID: id[:], User: "root", Service: "ssh-connection",
		Algorithm: key.PublicKey().Type(), PublicKey: blob,
	}
	return sshagent.SignRequest{Blob: blob, Data: data.Marshal()}
}

func TestSignByPhone(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, approves)
		w.connect(p)
		synctest.Wait()
		r := request(key, "session")
		blob, err := w.Sign(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkSignature(key.PublicKey(), r.Data, blob, 0); err != nil {
			t.Error(err)
		}
		if h := w.Status().History; h[0].Text != "Signed by mine: login as root" {
			t.Errorf("history %+v", h[0])
		}
	})
}

// The history says of each request what came of it, and why.
func TestHistory(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, approves)
		w.connect(p)
		synctest.Wait()
		other := newSigner(t)
		for i, test := range []struct {
			decide func(ctx context.Context, r *wire.RemoteSignRequest, received func()) error
			change func(r *sshagent.SignRequest, stop func())
			text   string
			code   wire.Code
		}{
			{approves, nil, "Signed by mine: login as root", ""},
			{denies, nil, "mine: login as root: Denied on the phone.", wire.CodeUserDenied},
			{denies, func(r *sshagent.SignRequest, _ func()) { *r = request(key, "session 1") },
				"mine: login as root: not asked again, denied just before", wire.CodeUserDenied},
			{silent, nil, "mine: login as root: No answer within 60 s.", wire.CodeRequestExpired},
			{func(context.Context, *wire.RemoteSignRequest, func()) error {
				return wire.NewError(wire.CodeRequestExpired)
			},
				func(*sshagent.SignRequest, func()) { w.cfg.ApprovalTimeout = 8 * time.Second },
				"mine: login as root: No answer within 8 s.", wire.CodeRequestExpired},
			{func(context.Context, *wire.RemoteSignRequest, func()) error {
				return wire.Errorf(wire.CodeRequestExpired, "Clocks differ by 90 s.")
			}, nil, "mine: login as root: Clocks differ by 90 s.", wire.CodeRequestExpired},
			{silent, func(_ *sshagent.SignRequest, stop func()) { time.AfterFunc(time.Second, stop) },
				"mine: login as root: withdrawn, since the SSH client went away", ""},
			{approves, func(r *sshagent.SignRequest, _ func()) { r.Connection = to(t, other) },
				"mine: login as root: The login is to another server than the one that the connection is bound to.", wire.CodePolicyDenied},
			{approves, func(r *sshagent.SignRequest, _ func()) { r.Blob = []byte("another") },
				"No such identity, or the session certificate has expired.", wire.CodeKeyNotFound},
		} {
			ctx, stop := context.WithCancel(t.Context())
			p.signing(key, test.decide)
			r := request(key, fmt.Sprint("session ", i))
			if test.change != nil {
				test.change(&r, stop)
			}
			_, err := w.Sign(ctx, r)
			if f := w.Status().LastFailure; strings.Contains(test.text, "Clocks differ") && (f == nil || f.Hint != hintClocks) {
				t.Errorf("%s: no true hint: %+v", test.text, f)
			}
			stop()
			if h := w.Status().History[0]; h.Text != test.text || h.Code != test.code || h.Kind != journal.KindSign {
				t.Errorf("%v: history %q (%s), want %q (%s)", err, h.Text, h.Code, test.text, test.code)
			}
		}
	})
}

// When the phone that is there, and has signed by the key before, cannot help, it is
// not waited for one that is not.
func TestNoPhoneThereHasTheKey(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		other := w.addPhone(2, "otherphone")
		p.signing(key, func(context.Context, *wire.RemoteSignRequest, func()) error {
			return wire.NewError(wire.CodeKeyNotFound)
		})
		other.signing(key, approves)
		w.connect(p)
		w.connect(other)
		synctest.Wait()
		w.prove(p.peer.ID, w.keyOf(sshagent.SignRequest{Blob: key.PublicKey().Marshal()}))
		w.disconnect(other)
		began := time.Now()
		if _, err := w.Sign(t.Context(), request(key, "session")); wire.CodeOf(err) != wire.CodeKeyNotFound || time.Since(began) > time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestNobodyAnswers(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, silent)
		w.connect(p)
		synctest.Wait()
		began := time.Now()
		_, err := w.Sign(t.Context(), request(key, "session"))
		if wire.CodeOf(err) != wire.CodeRequestExpired || time.Since(began) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		w.disconnect(p)
		began = time.Now()
		_, err = w.Sign(t.Context(), request(key, "another session"))
		if wire.CodeOf(err) != wire.CodePhoneNotReachable || time.Since(began) != awayTimeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if w.net.woken == 0 {
			t.Error("nobody tried to wake the link")
		}
		if s := w.Status(); s.ConnectionLine != "Phone not connected" || s.LastFailure.Code != wire.CodePhoneNotReachable || s.LastFailure.Hint == "" {
			t.Errorf("%q, %+v", s.ConnectionLine, s.LastFailure)
		}
	})
}

// A phone that connects while the client waits is asked.
func TestPhoneComesLate(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, approves)
		w.connect(p)
		synctest.Wait()
		w.disconnect(p)
		result := make(chan error, 1)
		go func() {
			_, err := w.Sign(context.Background(), request(key, "session"))
			result <- err
		}()
		time.Sleep(awayTimeout - time.Second)
		w.connect(p)
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

func TestClientGoesAway(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, silent)
		w.connect(p)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			_, err := w.Sign(ctx, request(key, "session"))
			result <- err
		}()
		synctest.Wait()
		if s := w.Status(); len(s.Waiting) != 1 || !s.Waiting[0].Shown || s.Waiting[0].Detail != "login as root" {
			t.Errorf("waiting: %+v", s.Waiting)
		}
		cancel()
		synctest.Wait()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if s := w.Status(); p.withdrawn() != 1 || len(s.Waiting) != 0 || s.LastFailure != nil {
			t.Errorf("withdrawn %d times; %+v", p.withdrawn(), s)
		}
	})
}

// More requests than people can answer are refused at once, and the status says so.
func TestTooManyWaiting(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, silent)
		w.connect(p)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		for n := range maxWaiting {
			waiting.Go(func() {
				if _, err := w.Sign(ctx, request(key, fmt.Sprint("session ", n))); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if _, err := w.Sign(t.Context(), request(key, "one too many")); wire.CodeOf(err) != wire.CodeSignerBusy {
			t.Errorf("one too many: %v", err)
		}
		if s := w.Status(); s.LastFailure == nil || !strings.Contains(s.LastFailure.Sentence, "Too many requests are waiting") {
			t.Errorf("the status does not say it: %+v", s.LastFailure)
		}
		cancel()
		waiting.Wait()
		p.signing(key, approves)
		if _, err := w.Sign(t.Context(), request(key, "later")); err != nil {
			t.Errorf("after the others have gone: %v", err)
		}
	})
}

func TestDeniedOncePerSession(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, denies)
		w.connect(p)
		synctest.Wait()
		for _, step := range []struct {
			session string
			asked   int
		}{{"one", 1}, {"one", 1}, {"two", 2}} {
			if _, err := w.Sign(t.Context(), request(key, step.session)); wire.CodeOf(err) != wire.CodeUserDenied {
				t.Errorf("session %s: %v", step.session, err)
			}
			if n := len(p.requests()); n != step.asked {
				t.Errorf("session %s: asked %d times, want %d", step.session, n, step.asked)
			}
		}
	})
}

// Of two phones that hold a key both are asked; the first decision of one that has
// signed by it before is final.
func TestTwoPhones(t *testing.T) {
	for _, test := range []struct {
		name   string
		first  func(context.Context, *wire.RemoteSignRequest, func()) error
		want   wire.Code
		second bool // is it the second phone that decides
	}{
		{name: "the first approves", first: approves},
		{name: "the first denies", first: denies, want: wire.CodeUserDenied},
		{name: "the first has lost the key", second: true, first: func(context.Context, *wire.RemoteSignRequest, func()) error {
			return wire.NewError(wire.CodeKeyNotFound)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
				other := w.addPhone(2, "otherphone")
				other.hello = wire.Hello{}
				p.signing(key, func(ctx context.Context, r *wire.RemoteSignRequest, received func()) error {
					time.Sleep(time.Second) // by then the other one is asked too
					return test.first(ctx, r, received)
				})
				other.signing(key, silent)
				if test.second {
					other.signing(key, func(ctx context.Context, r *wire.RemoteSignRequest, received func()) error {
						time.Sleep(2 * time.Second) // the first has said by then that it cannot
						return approves(ctx, r, received)
					})
				}
				w.connect(p)
				w.connect(other)
				synctest.Wait()
				if got := w.comments(); !slices.Equal(got, []string{"mine"}) {
					t.Errorf("listed %q", got)
				}
				w.prove(p.peer.ID, w.keyOf(sshagent.SignRequest{Blob: key.PublicKey().Marshal()}))
				_, err := w.Sign(t.Context(), request(key, "session"))
				if wire.CodeOf(err) != test.want {
					t.Errorf("decision %v", err)
				}
				synctest.Wait()
				if !test.second && other.withdrawn() != 1 {
					t.Errorf("otherphone: withdrawn %d times", other.withdrawn())
				}
			})
		})
	}
}

// attacker: a phone that signs other bytes, or answers for another request.
func TestBadSignatures(t *testing.T) {
	inSigning(t, func(t *testing.T, w *world, p *phone, key ssh.Signer) {
		p.signing(key, approves)
		w.connect(p)
		synctest.Wait()
		honest := p.answer
		for name, spoil := range map[string]func(*wire.SignResponse){
			"other bytes": func(r *wire.SignResponse) {
				s, _ := key.Sign(rand.Reader, []byte("other"))
				r.Signature = ssh.Marshal(s)
			},
			"garbage":        func(r *wire.SignResponse) { r.Signature = []byte("garbage") },
			"bytes behind":   func(r *wire.SignResponse) { r.Signature = append(r.Signature, 0) },
			"other request":  func(r *wire.SignResponse) { r.RequestID = wire.NewID() },
			"empty envelope": func(r *wire.SignResponse) { r.Signature = nil },
		} {
			p.does(func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error) {
				k, answer, err := honest(ctx, kind, body, received)
				r := answer.(wire.SignResponse)
				spoil(&r)
				return k, r, err
			})
			if _, err := w.Sign(t.Context(), request(key, name)); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	})
}

func TestPasskeys(t *testing.T) {
	key, _ := passkey(t)
	for choice, want := range map[Passkeys][2][]string{
		PasskeysLast:          {{"plain", "passkey"}, {"plain", "passkey", certificate.Comment}},
		PasskeysNever:         {{"plain"}, {"plain", certificate.Comment}},
		PasskeysNoCertificate: {{"plain", "passkey"}, {"plain", certificate.Comment}},
	} {
		t.Run(string(choice), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world, p *phone) {
				w.cfg.Passkeys = choice
				w.says(p, false)
				p.keys = []wire.RemoteSignerPublicKey{
					{Algorithm: key.Type(), PublicKeyBlob: key.Marshal(), Comment: "passkey", ProviderKind: wire.ProviderSecureEnclave},
					remoteKey(newSigner(t), "plain"),
				}
				w.connect(p)
				synctest.Wait()
				if got := w.comments(); !slices.Equal(got, want[0]) {
					t.Errorf("without certificate: %q", got)
				}
				w.says(p, true)
				w.connect(p)
				w.wantAsked(p, 1, "allowed")
				if got := w.comments(); !slices.Equal(got, want[1]) {
					t.Errorf("with certificate: %q", got)
				}
			})
		})
	}
}

// passkey makes a security key's public half and its private one.
func passkey(t *testing.T) (ssh.PublicKey, *ecdsa.PrivateKey) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.ParsePublicKey(ssh.Marshal(struct {
		Type, Curve string
		Point       []byte
		Application string
	}{ssh.KeyAlgoSKECDSA256, "nistp256", point, "phone.example"}))
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

// assertion makes a passkey's signature over data; change spoils it before the
// authenticator signs, so that only the agent's own check can refuse it.
func assertion(t *testing.T, private *ecdsa.PrivateKey, data []byte, change func(*sshctx.WebAuthn)) []byte {
	t.Helper()
	w := sshctx.WebAuthn{Flags: sshctx.FlagUserPresent | 4, Counter: 7, Origin: "https://phone.example"}
	w.ClientData = fmt.Sprintf(`{"type":"webauthn.get","challenge":"%s","origin":"%s","crossOrigin":false}`,
		base64.RawURLEncoding.EncodeToString(data), w.Origin)
	if change != nil {
		change(&w)
	}
	digest := sha256.Sum256(w.Signed("phone.example"))
	r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	blob := ssh.Marshal(struct{ R, S *big.Int }{r, s})
	return ssh.Marshal(ssh.Signature{Format: sshctx.FormatWebAuthn, Blob: blob, Rest: ssh.Marshal(w)})
}

func TestWebAuthnSignature(t *testing.T) {
	public, private := passkey(t)
	data := []byte("bytes to sign")
	if err := checkSignature(public, data, assertion(t, private, data, nil), 0); err != nil {
		t.Errorf("good assertion: %v", err)
	}
	for name, change := range map[string]func(*sshctx.WebAuthn){
		"user not present":   func(w *sshctx.WebAuthn) { w.Flags = 4 },
		"attested data":      func(w *sshctx.WebAuthn) { w.Flags |= sshctx.FlagAttested },
		"missing extensions": func(w *sshctx.WebAuthn) { w.Flags |= sshctx.FlagExtensions },
		"unflagged ones":     func(w *sshctx.WebAuthn) { w.Extensions = []byte{0xa0} },
		"another origin":     func(w *sshctx.WebAuthn) { w.Origin = "https://evilhub.example" },
		"registration":       func(w *sshctx.WebAuthn) { w.ClientData = `{"type":"webauthn.create"` + w.ClientData[22:] },
	} {
		if err := checkSignature(public, data, assertion(t, private, data, change), 0); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := checkSignature(public, []byte("other bytes"), assertion(t, private, data, nil), 0); err == nil {
		t.Error("assertion over other bytes: accepted")
	}
}

// An RSA signature is by the hash that the client's flags ask for; of both, by
// the one that ssh-agent takes. Other keys have no such choice, and OpenSSH sends
// the flags for them as well.
func TestSignatureFollowsFlags(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	data := []byte("data")
	socket, _ := sshdtest.Old(t).StartAgent(t)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	openssh := sshagentclient.NewClient(conn)
	if err := openssh.Add(sshagentclient.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	for flags, want := range map[uint32]string{2: ssh.KeyAlgoRSASHA256, 4: ssh.KeyAlgoRSASHA512, 6: ssh.KeyAlgoRSASHA256} {
		theirs, err := openssh.SignWithFlags(plain.PublicKey(), data, sshagentclient.SignatureFlags(flags))
		if err != nil || theirs.Format != want {
			t.Errorf("ssh-agent makes %v of flags %d (%v), not %s", theirs, flags, err, want)
		}
		for _, format := range []string{ssh.KeyAlgoRSA, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512} {
			sig, err := plain.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, data, format)
			if err != nil {
				t.Fatal(err)
			}
			if err := checkSignature(plain.PublicKey(), data, ssh.Marshal(sig), flags); (err == nil) != (format == want) {
				t.Errorf("flags %d, %s: %v", flags, format, err)
			}
		}
	}
	other := newSigner(t)
	sig, err := other.Sign(rand.Reader, data)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkSignature(other.PublicKey(), data, ssh.Marshal(sig), 4); err != nil {
		t.Errorf("an ECDSA key under RSA flags: %v", err)
	}
	if err := checkSignature(newSigner(t).PublicKey(), data, ssh.Marshal(sig), 0); err == nil {
		t.Error("a signature by another key: accepted")
	}
}
