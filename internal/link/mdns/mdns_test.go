package mdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"vmux/internal/leakcheck"
)

func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

func TestIsLocal(t *testing.T) {
	for host, want := range map[string]bool{
		"laptop.local": true, "Laptop.LOCAL.": true, "a.b.local": true,
		"local": false, ".local": false, "laptop": false, "laptop.local.example": false, "192.0.2.1": false, "notlocal": false, "": false,
	} {
		if IsLocal(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}

// tells is a source that tells addresses after a while; without any it gives up.
func tells(after time.Duration, server bool, list ...string) source {
	return func(ctx context.Context, _ string, told func(answer)) {
		wait := time.NewTimer(after)
		defer wait.Stop()
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		for _, ip := range list {
			told(answer{netip.MustParseAddr(ip), server})
		}
		if len(list) > 0 {
			<-ctx.Done() // as one that goes on listening
		}
	}
}

// Hosts themselves are believed before name servers, which some providers let invent
// addresses, and nobody waits longer than is of use.
func TestWhoIsBelieved(t *testing.T) {
	for _, test := range []struct {
		name    string
		sources []source
		want    string
		within  time.Duration
	}{
		{"a host, at once", []source{tells(0, false, "192.0.2.1")}, "192.0.2.1", together},
		{"a host that takes its time", []source{tells(3*time.Second, false, "192.0.2.1")}, "192.0.2.1", 3*time.Second + together},
		{"a host after a name server", []source{tells(0, true, "203.0.113.1"), tells(time.Second/2, false, "192.0.2.1")}, "192.0.2.1", time.Second/2 + together},
		{"a name server alone", []source{tells(0, true, "203.0.113.1"), tells(time.Hour, false)}, "203.0.113.1", serverAfter},
		{"a slow name server alone", []source{tells(2*time.Second, true, "203.0.113.1"), tells(3*time.Second, false)}, "203.0.113.1", 2*time.Second + together},
		{"twice the same, and more a moment later", []source{tells(0, false, "fd00::2", "192.0.2.1"), tells(together/2, false, "192.0.2.1", "198.51.100.1")},
			"192.0.2.1 198.51.100.1 fd00::2", together},
		{"addresses of nobody", []source{tells(0, false, "127.0.0.1", "::1", "0.0.0.0", "224.0.0.251", "fe80::1", "::ffff:192.0.2.9", "fe80::2%eth0")}, "fe80::2%eth0", together},
		{"nobody", []source{tells(time.Hour, false)}, "", patience},
		{"nobody, and that is known", []source{tells(0, false), tells(0, true)}, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				list, err := lookup(t.Context(), "nobody.local", test.sources)
				if got := strings.Trim(fmt.Sprint(list), "[]"); got != test.want {
					t.Errorf("got %s, %v; want %s", got, err, test.want)
				}
				if (Hint(err) != "") != (test.want == "") {
					t.Errorf("hint of %v: %q", err, Hint(err))
				}
				if took := time.Since(began); took != test.within {
					t.Errorf("took %v, want %v", took, test.within)
				}
			})
		})
	}
}

// Anybody in the network may answer a question with more than can be tried.
func TestAddressesAreBounded(t *testing.T) {
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("192.0.2.%d", i))
	}
	list, err := lookup(t.Context(), "x.local", []source{tells(0, false, many...)})
	if err != nil || len(list) != maxAddresses {
		t.Errorf("%d, %v", len(list), err)
	}
}

func TestCancelledSearch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if list, err := lookup(ctx, "x.local", []source{tells(time.Hour, false, "192.0.2.1")}); err == nil {
		t.Error(list)
	}
}

// What others than .local are called is Go's affair, and so is a port that is none.
func TestOtherHosts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(t.Context(), new(net.Dialer), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := Dial(t.Context(), new(net.Dialer), "tcp", "nonsense"); err == nil {
		t.Error("connected to nonsense")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Dial(ctx, new(net.Dialer), "tcp", "x.local:1")
	if e, ok := errors.AsType[*net.OpError](err); !ok || !strings.HasPrefix(err.Error(), "dial tcp: lookup x.local: no computer") {
		t.Errorf("%v, %v", err, e)
	}
}

// The first address that answers wins, though others before it do not.
func TestFirstAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	list := []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.1")}
	c, err := dialFirst(t.Context(), new(net.Dialer), "tcp", port, list)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.RemoteAddr().String(); got != l.Addr().String() {
		t.Errorf("connected to %s", got)
	}
	if _, err := dialFirst(t.Context(), new(net.Dialer), "tcp", port, list[:1]); err == nil || !strings.Contains(err.Error(), "127.0.0.2:"+port) {
		t.Errorf("a refusal does not name its address: %v", err)
	}
}

func resource(name string, ttl uint32, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: ttl}, Body: body}
}

func TestAnswers(t *testing.T) {
	a := func(last byte) *dnsmessage.AResource { return &dnsmessage.AResource{A: [4]byte{192, 0, 2, last}} }
	m := dnsmessage.Message{Header: dnsmessage.Header{Response: true, Authoritative: true}, Answers: []dnsmessage.Resource{
		resource("LAPTOP.local.", 120, a(1)), resource("other.local.", 120, a(2)), resource("laptop.local.", 0, a(3)),
		resource("laptop.local.", 120, &dnsmessage.TXTResource{TXT: []string{"x"}}),
		resource("laptop.local.", 120, &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("fe80::1").As16()}),
	}}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(answersTo(b, "laptop.local")); got != "[192.0.2.1 fe80::1]" {
		t.Error(got)
	}
	for n := range b {
		answersTo(b[:n], "laptop.local") // does not panic
	}
	m.Response = false
	if b, err = m.Pack(); err != nil || answersTo(b, "laptop.local") != nil {
		t.Errorf("a question is taken for an answer: %v", err)
	}
}

func FuzzAnswers(f *testing.F) {
	q, err := query("laptop.local", dnsmessage.ClassINET)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(q)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(answersTo(b, "laptop.local")) > maxAddresses {
			t.Error("unbounded")
		}
	})
}
