package agent

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// fails answers every request at once with the code.
func fails(code wire.Code, shows bool) func(context.Context, *wire.RemoteSignRequest, func()) error {
	return func(_ context.Context, _ *wire.RemoteSignRequest, received func()) error {
		if shows {
			received()
		}
		return wire.NewError(code)
	}
}

// twoPhones are a phone and another one that lists the same key.
func twoPhones(t *testing.T, f func(t *testing.T, w *world, p, other *phone, key ssh.Signer)) {
	inSigning(t, func(t *testing.T, w *world, other *phone, key ssh.Signer) {
		p := w.addPhone(2, "phone")
		p.hello, other.peer.Name = wire.Hello{}, wire.Clean("otherphone") // which has the lower ID
		other.peer.PairedAt = time.Now().Add(time.Hour)
		if err := w.trust.Add(other.peer); err != nil {
			t.Fatal(err)
		}
		p.signing(key, approves)
		f(t, w, p, other, key)
	})
}

// attacker: a second phone that lists a key which it does not have. Whatever it
// answers at once, the phone that has the key is asked and its signature counts.
func TestUnprovenPhoneEndsNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(context.Context, *wire.RemoteSignRequest, func()) error
		away   bool // the phone with the key comes only later
	}{
		{"denial", denies, false},
		{"policy", fails(wire.CodePolicyDenied, false), false},
		{"authentication", fails(wire.CodeAuthenticationFailed, true), false},
		{"no such key", fails(wire.CodeKeyNotFound, false), false},
		{"a false signature", nil, false},
		{"denial, the other away", denies, true},
		{"policy, the other away", fails(wire.CodePolicyDenied, false), true},
		{"no such key, the other away", fails(wire.CodeKeyNotFound, false), true},
		{"a false signature, the other away", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			twoPhones(t, func(t *testing.T, w *world, p, other *phone, key ssh.Signer) {
				if c.answer == nil {
					other.signing(newSigner(t), approves) // by a key of its own
				} else {
					other.signing(key, c.answer)
				}
				other.keys = []wire.RemoteSignerPublicKey{remoteKey(key, "theirs")}
				p.signing(key, func(ctx context.Context, r *wire.RemoteSignRequest, received func()) error {
					received()
					time.Sleep(4 * time.Second)
					return nil
				})
				w.connect(p)
				w.connect(other)
				synctest.Wait()
				if c.away {
					w.disconnect(p)
					time.AfterFunc(4*time.Second, func() { w.connect(p) })
				}
				if _, err := w.Sign(t.Context(), request(key, "session")); err != nil {
					t.Fatal(err)
				}
				if len(other.requests()) != 1 {
					t.Error("the second phone was not asked: it could never prove the key")
				}

				// From now on the first phone's word ends it, in the other's stead.
				p.signing(key, denies)
				other.signing(key, silent)
				began := time.Now()
				if _, err := w.Sign(t.Context(), request(key, "next")); wire.CodeOf(err) != wire.CodeUserDenied || time.Since(began) > time.Second {
					t.Errorf("denied by the phone that has the key: %v after %v", err, time.Since(began))
				}
			})
		})
	}
}

// Nobody waits for ever: when all have answered it is over, and when the phone that
// has the key does not come either.
func TestUnprovenRefusalsEndInTime(t *testing.T) {
	twoPhones(t, func(t *testing.T, w *world, p, other *phone, key ssh.Signer) {
		p.signing(key, denies)
		other.signing(key, denies)
		w.connect(p)
		w.connect(other)
		synctest.Wait()
		began := time.Now()
		if _, err := w.Sign(t.Context(), request(key, "both")); wire.CodeOf(err) != wire.CodeUserDenied || time.Since(began) > time.Second {
			t.Errorf("both denied: %v after %v", err, time.Since(began))
		}
		w.disconnect(p)
		for name, after := range map[string]time.Duration{"at once": 0, "late": 40 * time.Second} {
			other.signing(key, func(ctx context.Context, r *wire.RemoteSignRequest, received func()) error {
				received()
				time.Sleep(after)
				return wire.NewError(wire.CodeUserDenied)
			})
			began = time.Now()
			_, err := w.Sign(t.Context(), request(key, name))
			if d := time.Since(began); wire.CodeOf(err) != wire.CodePhoneNotReachable || d != max(reachTimeout, after) {
				t.Errorf("denied %s, the other away: %v after %v", name, err, d)
			}
		}
	})
}

// A single phone's denial ends the request for its key before it has ever signed by
// it, and says nothing of keys that another phone lists.
func TestUnprovenDenialOfAKeyOfItsOwn(t *testing.T) {
	twoPhones(t, func(t *testing.T, w *world, p, other *phone, key ssh.Signer) {
		junk := newSigner(t)
		other.signing(junk, denies)
		w.connect(p)
		w.connect(other)
		synctest.Wait()
		began := time.Now()
		for range 2 {
			if _, err := w.Sign(t.Context(), request(junk, "login")); wire.CodeOf(err) != wire.CodeUserDenied || time.Since(began) > time.Second {
				t.Errorf("its own key: %v", err)
			}
		}
		if n := len(other.requests()); n != 1 {
			t.Errorf("asked %d times in one login", n)
		}
		if _, err := w.Sign(t.Context(), request(key, "login")); err != nil {
			t.Errorf("another phone's key in the same login: %v", err)
		}
	})
}

// attacker: a second phone that overrides what the phone with the key says of it,
// though its ID is the lower one. What is proven outlives the agent, and ends with
// the pairing.
func TestUnprovenPhoneSaysNothingOfAKey(t *testing.T) {
	twoPhones(t, func(t *testing.T, w *world, p, other *phone, key ssh.Signer) {
		server, elsewhere := newSigner(t), sshctx.Fingerprint([]byte("elsewhere"))
		p.keys = []wire.RemoteSignerPublicKey{remoteKey(newSigner(t), "first"), remoteKey(key, "mine")}
		p.keys[1].Default = true
		theirs := remoteKey(key, "theirs")
		theirs.Hosts = []string{elsewhere}
		junk := remoteKey(newSigner(t), "junk")
		junk.Default, junk.Hosts = true, []string{sshctx.Fingerprint(server.PublicKey().Marshal())}
		signs := func(ctx context.Context, kind wire.Kind, body any, received func()) (wire.Kind, any, error) {
			if r, ok := body.(*wire.RemoteSignRequest); ok {
				s, err := key.Sign(rand.Reader, r.DataToSign)
				return wire.KindSignResponse, wire.SignResponse{RequestID: r.RequestID, Signature: ssh.Marshal(s)}, err
			}
			return other.approve(ctx, kind, body, received)
		}
		other.keys = []wire.RemoteSignerPublicKey{junk, theirs}
		other.does(signs)
		listed := func(when, want string) {
			t.Helper()
			synctest.Wait()
			if got := commentsOf(w.Listing(w.t.Context(), to(t, server))); got != want {
				t.Errorf("%s: listed %q, want %q", when, got, want)
			}
			want = fmt.Sprint(w.comments())
			w = &world{Agent: restarted(t, w), t: t, net: w.net, docs: w.docs, stop: w.stop}
			if got := fmt.Sprint(w.comments()); got != want {
				t.Errorf("%s: after a restart %s, before %s", when, got, want)
			}
		}
		w.connect(p)
		w.connect(other)
		listed("nothing proven", "mine first junk")

		w.disconnect(p)
		if _, err := w.Sign(t.Context(), request(key, "by the other")); err != nil {
			t.Fatal(err)
		}
		listed("proven by the other", "first junk")
		if got := w.comments(); !slices.Contains(got, "theirs") || slices.Contains(got, "mine") {
			t.Errorf("proven by the other: %q", got)
		}
		other.keys[1].Comment = "renamed"
		w.connect(other)
		listed("its list came anew", "first junk")
		if got := w.comments(); !slices.Contains(got, "renamed") {
			t.Errorf("its list came anew: %q", got)
		}

		if err := w.forget(other.peer.ID); err != nil {
			t.Fatal(err)
		}
		if err := w.trust.Add(other.peer); err != nil {
			t.Fatal(err)
		}
		w.connect(p)
		w.connect(other)
		listed("paired anew", "mine first junk")
	})
}

// attacker: the phone that was paired first says of another's key that it is for other
// servers only. It would be listed nowhere, and so could never be proven.
func TestFirstPhoneHidesNoKeyOfAnother(t *testing.T) {
	twoPhones(t, func(t *testing.T, w *world, p, other *phone, key ssh.Signer) {
		own, theirs := remoteKey(newSigner(t), "own"), remoteKey(key, "mine")
		own.Hosts = []string{sshctx.Fingerprint([]byte("elsewhere"))}
		theirs.Hosts = own.Hosts
		p.keys = []wire.RemoteSignerPublicKey{own, theirs}
		other.signing(key, approves)
		w.connect(p)
		w.connect(other)
		synctest.Wait()
		if got := commentsOf(w.Listing(w.t.Context(), to(t, newSigner(t)))); got != "mine" {
			t.Errorf("listed %q", got)
		}
	})
}

// restarted is an agent on the same state.
func restarted(t *testing.T, w *world) *Agent {
	t.Helper()
	next := newWorldIn(t, w.docs, w.trust)
	next.node = w.net
	old := w.stop
	w.stop = func() { old(); next.stop() }
	return next.Agent
}
