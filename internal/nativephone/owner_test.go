//go:build linux || darwin

package nativephone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/signer"
	"vmux/internal/state"
	"vmux/internal/wire"
)

var (
	began = make(chan struct{}, 1) // "wait" has
	ended = make(chan error, 1)    // why "wait" has
	done  atomic.Int64             // how often "count" was
)

// performs is what the phone of these tests can be asked for.
func performs(ctx context.Context, p *Phone, name string, arguments []byte) any {
	var err error
	switch name {
	case "pair":
		var inv device.Invitation
		if inv, err = device.ParseInvitation(string(arguments)); err == nil {
			_, err = p.Pair(ctx, inv, nil)
		}
	case "unpair":
		var peer device.Peer
		if peer, err = p.Trust.Find(string(arguments)); err == nil {
			err = p.Unpair(peer.ID)
		}
	case "create":
		_, err = p.Signer.Identities.Create(string(arguments), "ssh-ed25519", 0, []byte("secret"))
	case "wait":
		began <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
	case "count":
		done.Add(1)
	}
	if err != nil {
		return err.Error()
	}
	return "done"
}

// command asks the phone that runs in home, as a process of its own would.
func command(t *testing.T, home state.Home, name, arguments string) {
	t.Helper()
	p, running, err := Reach(t.Context(), home, "a command", signer.Approver{}, nil)
	if err != nil || p != nil {
		t.Fatalf("the phone that runs is not reached: %v", err)
	}
	var answer string
	if begun, err := running.Perform(t.Context(), name, []byte(arguments), &answer); !begun || err != nil || answer != "done" {
		t.Fatalf("%s: %q, begun %v, %v", name, answer, begun, err)
	}
}

// HelloChanged implements link.HelloListener.
func (c *computer) HelloChanged(device.Peer, wire.Hello) {
	select {
	case c.again <- struct{}{}:
	default:
	}
}

// A command pairs the phone that runs, changes it and unpairs it: each is done, by
// that phone, once the command is answered.
func TestCommandsOfARunningPhone(t *testing.T) {
	p, home := newPhone(t)
	w, _ := start(t, p)
	c := newComputer(t, "laptop")
	command(t, home, "pair", c.inv.URL())
	if _, err := p.Trust.Find("laptop"); err != nil {
		t.Errorf("paired: %v", err)
	}
	w.wait(t, "Connected to laptop")
	command(t, home, "create", "work")
	if _, err := p.Signer.Identities.Find("work"); err != nil {
		t.Errorf("created: %v", err)
	}
	select {
	case <-c.again:
	case <-time.After(patience):
		t.Fatal("the computer is not told of the new key")
	}
	command(t, home, "unpair", "laptop")
	if peers, err := p.Trust.Peers(); err != nil || len(peers) != 0 {
		t.Errorf("unpaired: %v, %v", peers, err)
	}
	select {
	case id := <-c.gone:
		if id != p.ID() {
			t.Errorf("told of %v", id.Short())
		}
	case <-time.After(patience):
		t.Fatal("the computer does not learn that it is unpaired")
	}
	w.wait(t, "Advertising: laptop is gone")
}

// While a command has the state open, another one waits, and learns who has it.
func TestStateHasOneOwner(t *testing.T) {
	p, home := newPhone(t)
	var owned *state.Owned
	if _, err := Open(home, "another command", signer.Approver{}, nil); !errors.As(err, &owned) || !strings.Contains(err.Error(), fmt.Sprintf("process %d, a test", os.Getpid())) {
		t.Errorf("opened twice: %v", err)
	}
	reached := make(chan error, 1)
	go func() {
		next, _, err := Reach(t.Context(), home, "another command", signer.Approver{}, nil)
		if err == nil {
			next.Close()
		}
		reached <- err
	}()
	p.Close()
	if err := <-reached; err != nil {
		t.Errorf("it has ended: %v", err)
	}
}

// A command that goes away takes with it what it asked for, and nothing else.
func TestCommandGoesAway(t *testing.T) {
	p, home := newPhone(t)
	start(t, p)
	_, running, err := Reach(t.Context(), home, "a command", signer.Approver{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-began; leave() }()
	var answer string
	if begun, err := running.Perform(ctx, "wait", nil, &answer); !begun || !errors.Is(err, context.Canceled) {
		t.Errorf("begun %v, %v", begun, err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("what it asked for ended by %v", err)
	}
	command(t, home, "create", "work")
}

// attacker: a program of this user's that sends what no command does. It costs itself
// an answer, and begins nothing.
func TestHostileCommands(t *testing.T) {
	p, home := newPhone(t)
	start(t, p)
	before := done.Load()
	_, running, err := Reach(t.Context(), home, "a command", signer.Approver{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var answer string
	if _, err := running.Perform(t.Context(), "count", bytes.Repeat([]byte("x"), maxArguments+1), &answer); err == nil {
		t.Error("too much was taken")
	}
	for name, raw := range map[string]string{
		"from a page":        "POST /v1/perform/count HTTP/1.1\r\nHost: phone\r\nOrigin: http://evilhub\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
		"begun and not sent": "POST /v1/perform/count HTTP/1.1\r\nHost: phone\r\nContent-Length: 200\r\n\r\n{",
		"another method":     "GET /v1/perform/count HTTP/1.1\r\nHost: phone\r\nConnection: close\r\n\r\n",
		"no HTTP":            "\x00\x00\x00\x01\x0b\r\n\r\n",
	} {
		conn, err := net.Dial("unix", filepath.Join(p.dir.Path(), socketName))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(raw)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		conn.Close()
	}
	command(t, home, "create", "work")
	if n := done.Load() - before; n != 0 {
		t.Errorf("%d of them were performed", n)
	}
}

// The phone's socket is this user's to open, and nobody else's.
func TestPhoneSocketIsPrivate(t *testing.T) {
	p, _ := newPhone(t)
	start(t, p)
	for file, want := range map[string]os.FileMode{filepath.Join(p.dir.Path(), socketName): 0o600, p.dir.Path(): 0o700} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	if _, err := control.Dial(t.Context(), filepath.Join(p.dir.Path(), socketName), "phone"); err != nil {
		t.Errorf("this user's own: %v", err)
	}
}

// Commands come while the phone is started and ended, again and again: each is done
// once, by whoever owns the state then.
func TestCommandsWhileThePhoneStartsAndEnds(t *testing.T) {
	p, home := newPhone(t)
	p.Close()
	before := done.Load()
	const commands = 40
	var waiting sync.WaitGroup
	for range 4 {
		waiting.Go(func() {
			for range commands / 4 {
				if err := countOnce(t.Context(), home); err != nil {
					t.Error(err)
				}
			}
		})
	}
	answered := make(chan struct{})
	go func() { waiting.Wait(); close(answered) }()
	for running := true; running; {
		p, r, err := Reach(t.Context(), home, "vmux phone run", signer.Approver{}, nil)
		if err != nil || r != nil {
			t.Fatalf("the phone cannot be started: %v", err)
		}
		_, stop := start(t, p)
		select {
		case <-answered:
			running = false
		case <-time.After(20 * time.Millisecond):
		}
		stop()
		p.Close()
	}
	if n := done.Load() - before; n != commands {
		t.Errorf("%d commands were done %d times", commands, n)
	}
}

func countOnce(ctx context.Context, home state.Home) error {
	for {
		p, running, err := Reach(ctx, home, "a command", signer.Approver{}, nil)
		switch {
		case err != nil:
			return err
		case p != nil:
			performs(ctx, p, "count", nil)
			p.Close()
			return nil
		}
		var answer string
		if begun, err := running.Perform(ctx, "count", nil, &answer); begun {
			return err
		}
	}
}
