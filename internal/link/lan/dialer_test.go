package lan

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/testkit"
)

// listener answers at an address as one device.
func listener(t *testing.T, key *device.Key) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := link.New(link.Config{Key: key, Trust: device.NewTrust(new(testkit.Document)), Name: "x"})
	done := make(chan struct{})
	go func() { defer close(done); _ = n.Serve(t.Context(), l) }()
	t.Cleanup(func() { n.Close(); <-done })
	return l.Addr().String()
}

func newKey(t *testing.T) *device.Key {
	t.Helper()
	k, err := device.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var errImpostor = errors.New("impostor")

// securing is a link's handshake: it passes with the device id only.
func securing(t *testing.T, id device.ID) link.Secure {
	mine := newKey(t)
	return func(ctx context.Context, c net.Conn) (*tls.Conn, error) {
		tc := tls.Client(c, &tls.Config{
			Certificates: []tls.Certificate{mine.Certificate()}, NextProtos: []string{"vmux/1"}, InsecureSkipVerify: true,
			VerifyConnection: func(cs tls.ConnectionState) error {
				if device.IDOf(cs.PeerCertificates[0]) != id {
					return errImpostor
				}
				return nil
			},
		})
		if err := tc.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, err
		}
		return tc, nil
	}
}

// TestDialPassesOverOthers: the last known address is another device's now, the
// next is closed; the one behind them is reached.
func TestDialPassesOverOthers(t *testing.T) {
	phone := newKey(t)
	good := listener(t, phone)
	peer := device.Peer{ID: phone.ID(), Routes: []string{
		Route(listener(t, newKey(t))), "hub:https://hub.example", "tcp:127.0.0.1:1", Route(good),
	}}
	c, route, err := NewDialer(false, nil).Dial(t.Context(), peer, securing(t, phone.ID()))
	if err != nil || route != Route(good) {
		t.Fatalf("route %q, %v", route, err)
	}
	_ = c.Close()
}

func TestDialNobody(t *testing.T) {
	d := NewDialer(false, nil)
	if _, _, err := d.Dial(t.Context(), device.Peer{}, nil); !errors.Is(err, link.ErrNoRoute) {
		t.Errorf("no address: %v", err)
	}
	impostor := device.Peer{Routes: []string{Route(listener(t, newKey(t)))}}
	if _, _, err := d.Dial(t.Context(), impostor, securing(t, device.ID{1})); !errors.Is(err, errImpostor) {
		t.Errorf("impostor: %v", err)
	}
}

// TestRemember: advertised addresses come first, expire, and are bounded
// however many an attacker makes up.
func TestRemember(t *testing.T) {
	d := NewDialer(false, nil)
	id := device.ID{7}
	later := time.Now().Add(time.Hour)
	d.remember(Entry{ID: id, Instance: "a", Addresses: []string{"192.0.2.1:1"}, Expires: later})
	d.remember(Entry{ID: id, Instance: "old", Addresses: []string{"192.0.2.2:1"}, Expires: time.Now()})
	got := d.addresses(device.Peer{ID: id, Routes: []string{"tcp:192.0.2.3:1", "tcp:192.0.2.1:1", "tcp:nonsense"}})
	if !slices.Equal(got, []string{"192.0.2.1:1", "192.0.2.3:1"}) {
		t.Errorf("addresses %v", got)
	}
	for i := range 2 * maxSeen {
		d.remember(Entry{ID: id, Instance: strings.Repeat("x", i), Addresses: []string{net.JoinHostPort("192.0.2.9", string(rune('a'+i)))}, Expires: later})
	}
	if len(d.seen) > maxSeen || len(d.addresses(device.Peer{ID: id})) > maxTries {
		t.Errorf("remembers %d, tries %d", len(d.seen), len(d.addresses(device.Peer{ID: id})))
	}
}

// A machine with twenty networks of containers, or somebody in its name, leaves no try for
// where the device was; and what the networks of this machine reach comes first.
func TestManyAddresses(t *testing.T) {
	d, id := NewDialer(false, nil), device.ID{7}
	var many []string
	for i := range 2 * maxTries {
		many = append(many, fmt.Sprintf("172.%d.0.1:1", 16+i))
	}
	d.remember(Entry{ID: id, Instance: "a", Addresses: append(many, "192.0.2.1:1"), Expires: time.Now().Add(time.Hour)})
	got := d.addresses(device.Peer{ID: id, Routes: []string{"tcp:192.0.2.1:1", "tcp:192.0.2.9:1"}})
	if len(got) > maxTries || got[0] != "192.0.2.1:1" || !slices.Contains(got, "192.0.2.9:1") {
		t.Errorf("%q", got)
	}

	list := []string{"10.9.0.1:1", "172.17.0.1:1", "192.168.1.5:1", "[fd00::5]:1"}
	nearest(list, []ownAddress{
		{netip.MustParsePrefix("192.168.1.7/24"), nearLAN}, {netip.MustParsePrefix("fd00::7/64"), nearLAN}, {netip.MustParsePrefix("172.17.0.1/16"), nearInner},
	})
	if want := []string{"192.168.1.5:1", "[fd00::5]:1", "10.9.0.1:1", "172.17.0.1:1"}; !slices.Equal(list, want) {
		t.Errorf("%q, want %q", list, want)
	}
}

func TestLabel(t *testing.T) {
	for _, name := range []string{"", "phone", strings.Repeat("ü", 60), "a.b\\c", "x\x00\u202ey"} {
		l := label(name, device.ID{})
		if len(l) > maxLabel || l == "" || strings.ContainsAny(l, ".\\\x00\u202e") || strings.ToValidUTF8(l, "?") != l {
			t.Errorf("%q: %q", name, l)
		}
	}
}

func TestAddress(t *testing.T) {
	for route, ok := range map[string]bool{
		"tcp:192.0.2.7:41234": true, "tcp:[2001:db8::1]:22": true, "tcp:phone.local:1": true,
		"tcp:192.0.2.7": false, "tcp::1": false, "tcp:h:0": false, "hub:https://x": false, "": false,
	} {
		if _, got := Address(route); got != ok {
			t.Errorf("%q: %v", route, got)
		}
	}
	for ip, ok := range map[string]bool{"192.0.2.7": true, "169.254.1.1": true, "2001:db8::1": true,
		"fe80::1": false, "127.0.0.1": false, "::1": false, "0.0.0.0": false, "224.0.0.251": false, "::ffff:192.0.2.1": true} {
		if _, got := address(net.ParseIP(ip), 1); got != ok {
			t.Errorf("%q: %v", ip, got)
		}
	}
}
