package sshagent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

func TestSignAndList(t *testing.T) {
	k := newKeys(t)
	c := agent.NewClient(dial(t, serve(t, Config{Backend: k})))
	listed, err := c.List()
	if err != nil {
		t.Fatal(err)
	}
	if len(listed) != 2 || listed[0].Comment != "at hand" || listed[1].Comment != "key on the phone, ü" {
		t.Fatalf("listed: %v", listed)
	}
	go func() { k.approve <- true }()
	for _, signer := range []ssh.Signer{k.local, k.remote} {
		s, err := c.Sign(signer.PublicKey(), []byte("data"))
		if err != nil {
			t.Fatal(err)
		}
		if err := signer.PublicKey().Verify([]byte("data"), s); err != nil {
			t.Error(err)
		}
	}
	r := <-k.asked
	if r.Peer != (Peer{PID: os.Getpid(), UID: os.Geteuid()}) || string(r.Data) != "data" {
		t.Errorf("the backend was asked for %+v", r)
	}
}

func TestDenialIsFailureAndTheConnectionLives(t *testing.T) {
	k := newKeys(t)
	c := dial(t, serve(t, Config{Backend: k}))
	go func() { k.approve <- false }()
	wantAnswer(t, c, signMessage(k.remote.PublicKey().Marshal(), nil), msgFailure)
	wantAnswer(t, c, signMessage([]byte("no such key"), nil), msgFailure)
	listsWithin(t, c)
}

// Keys are never taken, and what comes with them is not even read: garbage is
// refused in the same way as a key.
func TestRefusedMessages(t *testing.T) {
	c := dial(t, serve(t, Config{Backend: newKeys(t)}))
	for _, kind := range []byte{0, 1, 5, 12, 14, 17, 18, 20, 21, 25, 26, 28, 29, 30, 255} {
		wantAnswer(t, c, message(kind, []byte("garbage")), msgFailure)
		wantAnswer(t, c, message(kind), msgFailure)
	}
	listsWithin(t, c)
}

func TestMalformedMessages(t *testing.T) {
	k := newKeys(t)
	c := dial(t, serve(t, Config{Backend: k}))
	huge := []byte{0xff, 0xff, 0xff, 0xff}
	blob := sshString(k.local.PublicKey().Marshal())
	for _, frame := range [][]byte{
		{0, 0, 0, 0},
		message(msgRequestIdentities, []byte{0}),
		message(msgRemoveAll, []byte{0}),
		message(msgRemove), message(msgRemove, huge), message(msgRemove, blob, []byte{0}),
		message(msgSignRequest),
		message(msgSignRequest, huge),
		message(msgSignRequest, blob),
		message(msgSignRequest, blob, huge),
		message(msgSignRequest, blob, sshString(nil)),
		message(msgSignRequest, blob, sshString(nil), []byte{0, 0, 0}),
		message(msgSignRequest, blob, sshString(nil), []byte{0, 0, 0, 0, 0}),
		message(msgLock), message(msgLock, huge), message(msgLock, sshString(nil), []byte{1}),
		message(msgUnlock), message(msgUnlock, huge),
		message(msgExtension), message(msgExtension, huge),
		message(msgExtension, sshString([]byte("unheard-of@example.com"))),
	} {
		send(t, c, frame)
		if answer := receive(t, c); !bytes.Equal(answer, []byte{msgFailure}) {
			t.Errorf("%x: answer %x", frame, answer)
		}
	}
	listsWithin(t, c)
}

func TestFrameSize(t *testing.T) {
	k := newKeys(t)
	path := serve(t, Config{Backend: k})
	c := dial(t, path)
	blob := k.local.PublicKey().Marshal()
	largest := make([]byte, MaxFrame-1-4-len(blob)-4-4)
	wantAnswer(t, c, signMessage(blob, largest), msgSignResponse)

	over := binary.BigEndian.AppendUint32(nil, MaxFrame+1)
	send(t, c, over)
	if answer := receive(t, c); !bytes.Equal(answer, []byte{msgFailure}) {
		t.Errorf("answer %x", answer)
	}
	if _, err := readFrame(c, 5*time.Second); err == nil {
		t.Error("the connection lives on after a frame of unknowable end")
	}
	listsWithin(t, dial(t, path))
}

// Answers come in the order of the requests, also when the first has to wait.
func TestOrder(t *testing.T) {
	k := newKeys(t)
	c := dial(t, serve(t, Config{Backend: k}))
	ask := signMessage(k.remote.PublicKey().Marshal(), []byte("x"))
	list := message(msgRequestIdentities)
	send(t, c, ask, list, message(99), ask, list)
	for range 2 {
		<-k.asked
		k.approve <- true
	}
	for i, want := range []byte{msgSignResponse, msgIdentitiesAnswer, msgFailure, msgSignResponse, msgIdentitiesAnswer} {
		if answer := receive(t, c); answer[0] != want {
			t.Errorf("answer %d is %d, want %d", i, answer[0], want)
		}
	}
}

// More than the read-ahead holds, sent while a request waits, is answered too.
func TestLongPipeline(t *testing.T) {
	const n = 300
	k := newKeys(t)
	c := dial(t, serve(t, Config{Backend: k}))
	go func() {
		frames := signMessage(k.remote.PublicKey().Marshal(), nil)
		for range n {
			frames = append(frames, signMessage(k.local.PublicKey().Marshal(), make([]byte, 500))...)
		}
		c.Write(frames)
	}()
	<-k.asked
	k.approve <- true
	for i := range n + 1 {
		if answer := receive(t, c); answer[0] != msgSignResponse {
			t.Fatalf("answer %d is %d", i, answer[0])
		}
	}
}

func TestWaitingRequestIsWithdrawn(t *testing.T) {
	for name, ahead := range map[string]int{"idle client": 0, "client that sent more": 3 * bufferSize} {
		t.Run(name, func(t *testing.T) {
			k := newKeys(t)
			c := dial(t, serve(t, Config{Backend: k}))
			send(t, c, signMessage(k.remote.PublicKey().Marshal(), nil), make([]byte, ahead))
			<-k.asked
			c.Close()
			select {
			case <-k.withdrawn:
			case <-time.After(patience): // nothing else ends it
				t.Fatal("the request still waits though its client went away")
			}
		})
	}
}

func TestConnectionLimit(t *testing.T) {
	path := serve(t, Config{Backend: newKeys(t), MaxConnections: 2})
	first, second := dial(t, path), dial(t, path)
	listsWithin(t, first)
	listsWithin(t, second)
	wantAnswer(t, dial(t, path), message(msgRequestIdentities), msgFailure)
	first.Close()
	waitFor(t, "a place for one more", func() bool {
		c := dial(t, path)
		defer c.Close()
		send(t, c, message(msgRequestIdentities))
		return receive(t, c)[0] == msgIdentitiesAnswer
	})
}

func TestOtherUsersAreRefused(t *testing.T) {
	refuse := func(net.Conn) (Peer, error) { return Peer{}, os.ErrPermission }
	k := newKeys(t)
	path := serve(t, Config{Backend: k, CheckPeer: refuse, FrameTimeout: time.Second})
	c := dial(t, path)
	passphrase := sshString([]byte("open"))
	for _, m := range [][]byte{
		message(msgRequestIdentities), signMessage(k.local.PublicKey().Marshal(), []byte("data")),
		message(msgLock, passphrase), message(msgRemoveAll), message(msgExtension, passphrase), message(msgAdd, passphrase),
	} {
		wantAnswer(t, c, m, msgFailure)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("who is refused and stays is closed by %v, want the end of what there is to read", err)
	}
	// Who does not read answers, or sends none of what it announced, keeps nobody else out for long.
	for range 2 * maxRefused {
		c := dial(t, path)
		c.Write(message(msgRequestIdentities)[:3])
	}
	waitFor(t, "another user to be answered again", func() bool {
		c := dial(t, path)
		defer c.Close()
		c.Write(message(msgRequestIdentities))
		answer, err := readFrame(c, time.Second)
		return err == nil && answer[0] == msgFailure
	})
}

// attacker: another user's program that sends and reads none of the answers. It neither keeps its
// place for longer than others do, nor the agent from ending.
func TestRefusedClientsThatDoNotRead(t *testing.T) {
	for name, frameTimeout := range map[string]time.Duration{"its time is over": 100 * time.Millisecond, "serving ends": time.Hour} {
		t.Run(name, func(t *testing.T) {
			l, err := Listen(socketPath(t))
			if err != nil {
				t.Fatal(err)
			}
			s := New(Config{
				Backend: newKeys(t), FrameTimeout: frameTimeout, WriteTimeout: time.Hour,
				CheckPeer: func(net.Conn) (Peer, error) { return Peer{}, os.ErrPermission },
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- s.Serve(ctx, l) }()
			c := dial(t, l.Addr().String())
			flood := bytes.Repeat(message(msgRequestIdentities), 1<<20)
			sent := make(chan struct{})
			go func() { defer close(sent); c.Write(flood) }() // until it is closed
			waitFor(t, "it to be told", func() bool { return len(s.refused) == 1 || frameTimeout < time.Second })
			if frameTimeout < time.Second {
				waitFor(t, "its place to be free", func() bool { return len(s.refused) == 0 })
			}
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(patience):
				t.Error("the agent does not end")
				c.Close()
				<-done
			}
			<-sent
		})
	}
}

func TestLock(t *testing.T) {
	k := newKeys(t)
	path := serve(t, Config{Backend: k})
	c, other := dial(t, path), dial(t, path)
	blob := k.local.PublicKey().Marshal()
	passphrase, wrong := sshString([]byte("open")), sshString([]byte("opem"))

	wantAnswer(t, c, message(msgUnlock, passphrase), msgFailure) // not locked
	// A request that was waiting when the agent was locked is not answered.
	waiting := dial(t, path)
	send(t, waiting, signMessage(k.remote.PublicKey().Marshal(), nil))
	<-k.asked
	wantAnswer(t, c, message(msgLock, passphrase), msgSuccess)
	k.approve <- true
	if answer := receive(t, waiting); answer[0] != msgFailure {
		t.Errorf("a locked agent signed: %x", answer)
	}
	wantAnswer(t, other, message(msgLock, wrong), msgFailure) // locked already
	list := wantAnswer(t, other, message(msgRequestIdentities), msgIdentitiesAnswer)
	if !bytes.Equal(list[1:], []byte{0, 0, 0, 0}) {
		t.Errorf("a locked agent lists %x", list)
	}
	wantAnswer(t, other, signMessage(blob, nil), msgFailure)
	wantAnswer(t, other, message(msgRemoveAll), msgFailure)

	// The guesser waits, the others do not.
	send(t, c, bytes.Repeat(message(msgUnlock, wrong), 3))
	listsWithin(t, other)
	wantAnswer(t, other, message(msgUnlock, passphrase), msgSuccess)
	wantAnswer(t, other, signMessage(blob, nil), msgSignResponse)
	for range 3 {
		if answer := receive(t, c); answer[0] != msgFailure {
			t.Errorf("a wrong passphrase was answered with %d", answer[0])
		}
	}
	if len(receiveList(t, c)) != 2 {
		t.Error("identities are missing after the unlocking")
	}
}

func receiveList(t *testing.T, c net.Conn) []*agent.Key {
	t.Helper()
	listed, err := agent.NewClient(c).List()
	if err != nil {
		t.Fatal(err)
	}
	return listed
}

func TestRemoveAll(t *testing.T) {
	c := agent.NewClient(dial(t, serve(t, Config{Backend: newKeys(t)})))
	if err := c.RemoveAll(); err != nil {
		t.Fatal(err)
	}
	if listed, err := c.List(); err != nil || len(listed) != 1 {
		t.Fatalf("listed %v, %v", listed, err)
	}
}

// Only a key that the computer itself holds can be removed, by who may manage it.
func TestRemove(t *testing.T) {
	k := newKeys(t)
	c := agent.NewClient(dial(t, serve(t, Config{Backend: k})))
	if c.Remove(k.remote.PublicKey()) == nil {
		t.Error("a phone's key was removed")
	}
	guest := dial(t, serve(t, Config{Backend: k, MayManage: func(Connection) bool { return false }}))
	wantAnswer(t, guest, message(msgRemove, sshString(k.local.PublicKey().Marshal())), msgFailure)
	if listed, err := c.List(); err != nil || len(listed) != 2 {
		t.Fatalf("listed %v, %v", listed, err)
	}
	if err := c.Remove(k.local.PublicKey()); err != nil {
		t.Fatal(err)
	}
	if listed, err := c.List(); err != nil || len(listed) != 1 {
		t.Fatalf("listed %v, %v", listed, err)
	}
}

// When serving ends, a waiting request is withdrawn, its client is answered,
// and the socket's name is free.
func TestEnd(t *testing.T) {
	k := newKeys(t)
	var c net.Conn
	var path string
	t.Run("serving", func(t *testing.T) {
		path = serve(t, Config{Backend: k})
		c, _ = net.Dial("unix", path)
		send(t, c, signMessage(k.remote.PublicKey().Marshal(), nil))
		<-k.asked
		listsWithin(t, dial(t, path)) // and one that idles
	})
	defer c.Close()
	<-k.withdrawn
	if answer := receive(t, c); answer[0] != msgFailure {
		t.Errorf("answer %x", answer)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is still there")
	}
}

func TestListingStaysBelowTheFrameLimit(t *testing.T) {
	many := make([]Identity, 2000)
	for i := range many {
		many[i] = Identity{Blob: make([]byte, 300), Comment: "c"}
	}
	l := NewListing(many)
	if n := len(l.frame) - headerSize; n > MaxFrame || n < MaxFrame-400 {
		t.Errorf("the answer takes %d bytes", n)
	}
	if n := binary.BigEndian.Uint32(l.frame[headerSize+1:]); int(n) != len(l.Identities()) {
		t.Errorf("%d announced, %d listed", n, len(l.Identities()))
	}
}
