package test

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// attacker is a device that nobody paired, with a TLS key of its own.
func attacker(t testing.TB) *tls.Config {
	t.Helper()
	key, err := device.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{key.Certificate()}, MinVersion: tls.VersionTLS13,
		InsecureSkipVerify: true, // the attacker does not care whom he speaks to
		ClientAuth:         tls.RequireAnyClientCert,
		NextProtos:         []string{"vmux/1"},
	}
}

// address is where the running phone listens.
func (w *world) address() string {
	w.Helper()
	m := regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`).FindStringSubmatch(w.phoneRun.log())
	if m == nil {
		w.Fatalf("the phone does not say where it listens:\n%s", w.phoneRun.log())
	}
	return m[1]
}

// answer reads one envelope.
func answer(t testing.TB, conn net.Conn) wire.Envelope {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var prefix [wire.LengthPrefixSize]byte
	if _, err := io.ReadFull(conn, prefix[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(prefix[:]))
	if _, err := io.ReadFull(conn, b); err != nil {
		t.Fatal(err)
	}
	e, err := wire.DecodeEnvelope(b)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestPhoneRefusesUnpairedDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	conn, err := tls.Dial("tcp", w.address(), attacker(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	e := answer(t, conn)
	var told wire.Error
	if err := wire.DecodeBody(e, &told); err != nil || e.Kind != wire.KindError || told.Code != wire.CodePairingInvalid {
		t.Errorf("an unpaired device was answered %s %s, %v", e.Kind, e.Body, err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("the phone went on: %d bytes", n)
	}
	// No TLS at all, and what looks like a huge frame: neither disturbs the link.
	for _, garbage := range []string{"\xff\xff\xff\xff", "GET / HTTP/1.1\r\n\r\n"} {
		raw, err := net.Dial("tcp", w.address())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(raw, garbage)
		raw.Close()
	}
	w.computer.run("keys", "refresh")
}

// A man in the middle ends the agent's connection with his own key. The agent
// must not take him for its phone.
func TestAgentRefusesAnotherKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	w.agent.stop()
	l, err := tls.Listen("tcp", "127.0.0.1:0", attacker(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.moveRoutes(l.Addr().String())
	w.startAgent("--lan=false")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("the agent spoke to the attacker: %d bytes", n)
	}
	if r := w.computer.try("status"); !strings.Contains(r.stdout, "Phone not connected") {
		t.Errorf("status: %s", r.stdout)
	}
}

func TestUnpairedComputerIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	w.phone.run("phone", "unpair", deviceOf(t, w.phone.run("phone", "devices", "--json")))
	w.waitStatus("Phone not connected")
	waitFor(t, "pairingInvalid on the computer", func() bool {
		r := w.computer.try("status")
		return strings.Contains(r.stdout+r.stderr, "no longer paired") || strings.Contains(w.agent.log(), "pairingInvalid")
	})
	if r := w.computer.try("keys", "refresh"); r.exit == 0 {
		t.Error("keys refresh succeeded though unpaired")
	}
}
