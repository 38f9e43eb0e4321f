package tcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
)

// names answers with these addresses.
type names struct {
	list []netip.Addr
	err  error
}

func (n names) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	if network != "ip6" || host != "ipv4only.arpa." {
		return nil, errors.New("another question")
	}
	return n.list, n.err
}

// The examples of RFC 6052 section 2.4, for 192.0.2.33: each length of a prefix.
func TestTranslated(t *testing.T) {
	for known, want := range map[string]string{
		"2001:db8:c000:aa::":            "2001:db8:c000:221::",
		"2001:db8:1c0:0:aa::":           "2001:db8:1c0:2:21::",
		"2001:db8:122:c000:0:aa00::":    "2001:db8:122:c000:2:2100::",
		"2001:db8:122:3c0:0:aa::":       "2001:db8:122:3c0:0:221::",
		"2001:db8:122:344:c0:0:aa00:0":  "2001:db8:122:344:c0:2:2100:0",
		"2001:db8:122:344::192.0.0.171": "2001:db8:122:344::192.0.2.33",
		"64:ff9b::192.0.0.170":          "64:ff9b::192.0.2.33",
		"::ffff:192.0.0.170":            "", // no translator: the address itself
		"2001:db8::1":                   "", // a network that answers everything
	} {
		got, ok := translated(t.Context(), names{list: []netip.Addr{netip.MustParseAddr(known)}}, netip.MustParseAddr("192.0.2.33"))
		if ok != (want != "") || ok && got != netip.MustParseAddr(want) {
			t.Errorf("%s: %v, want %s", known, got, want)
		}
	}
	if _, ok := translated(t.Context(), names{err: errors.New("no such host")}, netip.MustParseAddr("192.0.2.33")); ok {
		t.Error("a translator without its name")
	}
}

func TestUnreachable4(t *testing.T) {
	failed := func(address string, why error) error {
		a, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		return &net.OpError{Op: "dial", Net: "tcp", Addr: a, Err: os.NewSyscallError("connect", why)}
	}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{failed("192.0.2.33:443", syscall.ENETUNREACH), true},
		{failed("192.0.2.33:443", syscall.EHOSTUNREACH), true},
		{failed("192.0.2.33:443", syscall.ECONNREFUSED), false}, // it was reached
		{failed("[2001:db8::1]:443", syscall.ENETUNREACH), false},
		{failed("127.0.0.1:443", syscall.ENETUNREACH), false},
		{errors.New("lookup failed"), false},
	} {
		if a, got := unreachable4(test.err); got != test.want || got && a.String() != "192.0.2.33:443" {
			t.Errorf("%v: %v %v", test.err, a, got)
		}
	}
}

func TestListen(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0", LinkSegment)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = c.Write(make([]byte, 4*LinkSegment))
			_ = c.Close()
		}
		accepted <- err
	}()
	c, err := Dialer().DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := 0
	for b := make([]byte, 64<<10); ; {
		n, err := c.Read(b)
		if got += n; err != nil {
			break
		}
	}
	if err := <-accepted; err != nil || got != 4*LinkSegment {
		t.Errorf("%d bytes, %v", got, err)
	}
}
