package test

import (
	"bytes"
	"context"
	"encoding/hex"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/relay"
	"vmux/internal/link/relay/hubtest"
)

// startEvilHub serves an evilhub until the test ends.
func startEvilHub(t *testing.T) (url string, evilhub *hubtest.Hub) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	url = "http://localhost:" + port
	evilhub = hubtest.New(url)
	evilhub.Blind = true
	server := &http.Server{Handler: evilhub, ReadHeaderTimeout: patience}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-served })
	return url, evilhub
}

// attackerAt is a device of the evilhub's own, which takes every stream.
func attackerAt(t *testing.T, url string) device.ID {
	key, trust := newDevice(t)
	client, err := relay.New(relay.Config{URL: url, Key: key, Allow: func() []device.ID { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	node := link.New(link.Config{Key: key, Trust: trust, Name: "attacker", Handler: linkEvents{make(chan struct{}, 1)}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{}, 2)
	go func() { _ = client.Run(ctx); ended <- struct{}{} }()
	go func() { _ = node.Serve(ctx, client.Listener()); node.Close(); ended <- struct{}{} }()
	t.Cleanup(func() { cancel(); <-ended; <-ended })
	if err := client.Subscribe(deadline(t), nil); err != nil { // waits for the connection
		t.Fatal(err)
	}
	return key.ID()
}

// Between the real agent and the real phone stands a hub that replays, reorders,
// drops, truncates, injects, ends streams and connects the wrong two. Whatever
// comes through is a signature that was asked for and approved once; nothing of
// it can be read; and when the hub behaves again, everything works as before.
func TestEvilHub(t *testing.T) {
	t.Parallel()
	url, evilhub := startEvilHub(t)
	third := attackerAt(t, url)
	w := hubWorld(t, url, "ssh-ed25519")
	w.waitHub(true)
	w.startPhone()
	w.pairAt("192.0.2.1") // which is no address of this machine
	w.phoneRun.waitLog("At the hub " + url)
	w.agent.stop()
	w.moveRoutes("127.0.0.1:1") // nor does the phone listen where it did
	w.startAgent("--lan=false", "--hub", url)
	w.waitAtHub(url)
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.identity("ssh-ed25519").PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for name, misdeed := range hubtest.Misdeeds {
		evilhub.Tamper(misdeed(rand.New(rand.NewPCG(uint64(len(name)), 7)), third))
		before := w.approvals()
		requests := []<-chan error{w.requests(key, name+secretText), w.requests(key, secretText+name)}
		enough := time.After(time.Second)
		got := 0
		for _, r := range requests {
			select {
			case err := <-r:
				if err == nil {
					got++
				}
			case <-enough:
				enough = nil
				evilhub.Tamper(nil)
				if err := w.wait(r); err == nil {
					got++
				}
			}
		}
		evilhub.Tamper(nil)
		asked += len(requests)
		if n := w.approvals() - before; n < got || n > len(requests) {
			t.Errorf("%s: %d signatures came, the phone approved %d, %d were asked for", name, got, n, len(requests))
		}
		w.waitAtHub(url)
		if err := w.wait(w.requests(key, "afterwards")); err != nil {
			t.Errorf("%s, afterwards: %v", name, err)
		}
		asked++
	}
	if n := w.approvals(); n > asked {
		t.Errorf("the phone approved %d signatures, %d were asked for", n, asked)
	}
	w.requestCertificate() // the record has messages of all kinds
	w.computer.run("keys", "refresh")
	for _, leak := range evilhub.Leaks() {
		t.Errorf("the evilhub can read: %s", leak)
	}
	record := evilhub.Record()
	for _, s := range append(spellings(key.Marshal()), secretText, hex.EncodeToString([]byte(secretText)), "ssh-ed25519", "dataToSign", "requestID", "deviceName") {
		if bytes.Contains(record, []byte(s)) {
			t.Errorf("the evilhub can read %q", s)
		}
	}
	if len(record) < 10000 {
		t.Errorf("the evilhub has recorded %d bytes only", len(record))
	}
	if devices := w.computer.run("devices") + w.phone.run("phone", "devices"); strings.Contains(devices, third.Short()) {
		t.Error("the attacker is paired")
	}
}

const secretText = "what is to be signed, which nobody else may read"
