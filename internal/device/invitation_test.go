package device

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// channel returns both ends' view of one TLS channel between two fresh devices.
func channel(t *testing.T) (agent, phone *tls.ConnectionState) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	server := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{newTestKey(t).Certificate()}, MinVersion: tls.VersionTLS13})
	// Whom one speaks to is not this test's matter.
	client := tls.Client(b, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	done := make(chan error, 1)
	go func() {
		err := server.Handshake()
		if err == nil {
			_, err = server.Write([]byte{1}) // net.Pipe has no buffer: the session tickets want a reader
		}
		done <- err
	}()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	sa, sb := server.ConnectionState(), client.ConnectionState()
	return &sa, &sb
}

func newOffer(t *testing.T, now time.Time) (*Offer, Invitation) {
	t.Helper()
	o := NewOffer(NewInvitation(newTestKey(t).ID(), "laptop", []string{"tcp:192.0.2.7:1"}, ""), now)
	scanned, err := ParseInvitation(o.Invitation().URL())
	if err != nil {
		t.Fatal(err)
	}
	return o, scanned
}

func proofOf(t *testing.T, inv Invitation, cs *tls.ConnectionState) []byte {
	t.Helper()
	proof, err := inv.PhoneProof(cs)
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

func TestOfferIsRedeemedOnce(t *testing.T) {
	agent, phone := channel(t)
	o, inv := newOffer(t, noon)
	answer, err := o.Redeem(agent, proofOf(t, inv, phone), noon)
	if err != nil {
		t.Fatal(err)
	}
	if err := inv.CheckAgentProof(phone, answer); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Redeem(agent, proofOf(t, inv, phone), noon); !errors.Is(err, ErrInvitationEnded) || !o.Ended(noon) {
		t.Errorf("redeemed again: %v", err)
	}
}

// Two phones come at once: one wins. (Run under -race.)
func TestOfferRace(t *testing.T) {
	agent, phone := channel(t)
	o, inv := newOffer(t, noon)
	proof := proofOf(t, inv, phone)
	var won atomic.Int32
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			if _, err := o.Redeem(agent, proof, noon); err == nil {
				won.Add(1)
			}
			o.Ended(noon)
		})
	}
	group.Wait()
	if won.Load() != 1 {
		t.Errorf("redeemed %d times", won.Load())
	}
}

func TestFiveWrongProofsEndAnOffer(t *testing.T) {
	agent, phone := channel(t)
	o, inv := newOffer(t, noon)
	good := proofOf(t, inv, phone)
	for n, wrong := range [][]byte{nil, {}, make([]byte, ProofSize), append([]byte{0}, good...)} {
		if _, err := o.Redeem(agent, wrong, noon); !errors.Is(err, ErrWrongProof) || o.Ended(noon) {
			t.Fatalf("wrong proof %d: %v", n+1, err)
		}
	}
	if _, err := o.Redeem(agent, good[:31], noon); !errors.Is(err, ErrWrongProof) || !o.Ended(noon) {
		t.Fatalf("the fifth: %v", err)
	}
	if _, err := o.Redeem(agent, good, noon); !errors.Is(err, ErrInvitationEnded) {
		t.Errorf("the right one afterwards: %v", err)
	}
}

// The attacker stands between: he has a channel to each side, and carries what
// one says to the other.
func TestProofsBelongToTheirChannelAndSide(t *testing.T) {
	_, phone := channel(t)
	agent, attacker := channel(t)
	o, inv := newOffer(t, noon)
	if _, err := o.Redeem(agent, proofOf(t, inv, phone), noon); !errors.Is(err, ErrWrongProof) {
		t.Errorf("a proof carried to another channel: %v", err)
	}
	if err := inv.CheckAgentProof(attacker, proofOf(t, inv, attacker)); !errors.Is(err, ErrWrongProof) {
		t.Errorf("the phone's own proof, reflected: %v", err)
	}
	other := NewInvitation(inv.DeviceID, "laptop", nil, "")
	if _, err := o.Redeem(agent, proofOf(t, other, attacker), noon); !errors.Is(err, ErrWrongProof) {
		t.Errorf("a proof of another secret: %v", err)
	}
	if _, err := (Invitation{}).PhoneProof(attacker); err == nil {
		t.Error("the zero invitation proves something")
	}
}

func TestOfferExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := newOffer(t, time.Now())
		time.Sleep(InvitationLife - time.Nanosecond)
		if o.Ended(time.Now()) {
			t.Error("ended before its time")
		}
		time.Sleep(time.Nanosecond)
		if !o.Ended(time.Now()) {
			t.Error("still open after five minutes")
		}
		if _, err := o.Redeem(nil, nil, time.Now()); !errors.Is(err, ErrInvitationEnded) {
			t.Errorf("redeemed after its time: %v", err)
		}
	})
}

func TestEnd(t *testing.T) {
	o, _ := newOffer(t, noon)
	o.End()
	o.End()
	if !o.Ended(noon) {
		t.Error("still open")
	}
}

func TestInvitationTravels(t *testing.T) {
	for _, base := range []string{"", "https://hub.example/app/"} {
		inv := NewInvitation(newTestKey(t).ID(), "Zoë & Söhne #1", []string{"tcp:[2001:db8::1]:1", "hub:https://hub.example"}, base)
		got, err := ParseInvitation(" \n" + inv.URL() + "\r\n")
		if err != nil {
			t.Fatal(err)
		}
		if got.URL() != inv.URL() || got.Name != inv.Name || !reflect.DeepEqual(got.Routes, inv.Routes) || got.secret() != inv.secret() {
			t.Errorf("got %q, want %q", got.URL(), inv.URL())
		}
	}
	a, b := NewInvitation(ID{1}, "", nil, ""), NewInvitation(ID{1}, "", nil, "")
	if a.secret() == b.secret() {
		t.Error("two invitations share a secret")
	}
}

// Both ends of an invitation know one rendezvous token; another invitation, and
// nobody's, have another, and it is not the secret.
func TestRendezvousToken(t *testing.T) {
	_, inv := newOffer(t, time.Now())
	read, err := ParseInvitation(inv.URL())
	if err != nil || read.RendezvousToken() != inv.RendezvousToken() {
		t.Errorf("the phone's token differs: %v", err)
	}
	_, other := newOffer(t, time.Now())
	secret := inv.secret()
	for name, token := range map[string][32]byte{"another": other.RendezvousToken(), "nobody": {}, "the secret": secret} {
		if token == inv.RendezvousToken() {
			t.Errorf("the token is also that of %s", name)
		}
	}
	if (Invitation{}).RendezvousToken() != [32]byte{} {
		t.Error("the zero invitation has a token")
	}
}

func TestParseInvitationRefuses(t *testing.T) {
	good := NewInvitation(newTestKey(t).ID(), "laptop", []string{"tcp:192.0.2.7:1"}, "").URL()
	base, fragment, _ := strings.Cut(good, "#")
	v, err := url.ParseQuery(fragment)
	if err != nil {
		t.Fatal(err)
	}
	with := func(field string, values ...string) string {
		changed := url.Values{}
		for k, old := range v {
			changed[k] = old
		}
		changed[field] = values
		return base + "#" + changed.Encode()
	}
	secret := v.Get("s")
	for name, bad := range map[string]string{
		"empty": "", "no fragment": base, "no fields": base + "#", "in the query": base + "?" + fragment,
		"another version": with("v", "2"), "no version": with("v"),
		"no device": with("d"), "a device in upper case": with("d", strings.ToUpper(v.Get("d"))),
		"no secret": with("s"), "a short secret": with("s", secret[:42]), "a long secret": with("s", secret+"AA"),
		"a secret of 31 bytes": with("s", base64.RawURLEncoding.EncodeToString(make([]byte, 31))),
		"a secret of 33 bytes": with("s", base64.RawURLEncoding.EncodeToString(make([]byte, 33))),
		"a padded secret":      with("s", secret+"="), "a secret with a newline": with("s", secret[:9]+"\n"+secret[9:]),
		"two secrets": with("s", secret, secret), "two devices": with("d", v.Get("d"), v.Get("d")),
		"a name that draws": with("n", "\x1b[2J"), "a long name": with("n", strings.Repeat("a", 300)),
		"a route that draws": with("r", "tcp:\u202e:1"), "nine routes": with("r", strings.Split("aaaaaaaaa", "")...),
		"a base that draws": "\x1b[2J" + good, "too long": good + strings.Repeat("&x=", maxInvitation),
		"bad escapes": good + "&%zz",
	} {
		if inv, err := ParseInvitation(bad); !errors.Is(err, ErrNotInvitation) {
			t.Errorf("%s: %v, %v", name, inv, err)
		} else if strings.Contains(err.Error(), secret[:8]) {
			t.Errorf("%s: the error repeats the secret", name)
		}
	}
}

func FuzzParseInvitation(f *testing.F) {
	f.Add(NewInvitation(newTestKey(f).ID(), "laptop", []string{"tcp:192.0.2.7:1"}, "").URL())
	f.Add("vmux://pair#v=1&d=" + strings.Repeat("a", 52) + "&n=&s=" + strings.Repeat("A", 43))
	f.Fuzz(func(t *testing.T, s string) {
		inv, err := ParseInvitation(s)
		if err != nil {
			return
		}
		again, err := ParseInvitation(inv.URL())
		if err != nil {
			if len(inv.URL()) > maxInvitation {
				return // escaping made it longer than what is read
			}
			t.Fatalf("%q becomes %q: %v", s, inv.URL(), err)
		}
		if again.URL() != inv.URL() {
			t.Errorf("got %q, want %q", again.URL(), inv.URL())
		}
	})
}
