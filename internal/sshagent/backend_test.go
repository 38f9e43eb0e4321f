package sshagent

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshctx"
	"vmux/internal/testkit"
)

// keys is a Backend with one key at hand and one that a person has to approve.
type keys struct {
	local, remote ssh.Signer
	listing       atomic.Pointer[Listing]
	asked         chan SignRequest // each request for the remote key
	approve       chan bool        // answers it
	withdrawn     chan struct{}    // or its context ended
	told          func(Connection) // of each listing and local signature; nil: nobody
}

func newKeys(t testing.TB) *keys {
	t.Helper()
	k := &keys{asked: make(chan SignRequest, 2000), approve: make(chan bool), withdrawn: make(chan struct{}, 2000)}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k.local, _ = ssh.NewSignerFromKey(private)
	k.remote, _ = ssh.NewSignerFromKey(edPrivate)
	k.listing.Store(NewListing([]Identity{
		{Blob: k.local.PublicKey().Marshal(), Comment: "at hand"},
		{Blob: k.remote.PublicKey().Marshal(), Comment: "key on the phone, ü"},
	}))
	return k
}

func (k *keys) Listing(_ context.Context, c Connection) *Listing {
	if k.told != nil {
		k.told(c)
	}
	return k.listing.Load()
}

func (k *keys) SignLocal(c Connection, blob, data []byte, _ uint32) ([]byte, bool, error) {
	if k.told != nil {
		k.told(c)
	}
	if !bytes.Equal(blob, k.local.PublicKey().Marshal()) {
		return nil, false, nil
	}
	s, err := k.local.Sign(rand.Reader, data)
	if err != nil {
		return nil, true, err
	}
	return ssh.Marshal(s), true, nil
}

func (k *keys) Sign(ctx context.Context, r SignRequest) ([]byte, error) {
	if !bytes.Equal(r.Blob, k.remote.PublicKey().Marshal()) {
		return nil, errors.New("no such key")
	}
	k.asked <- r
	select {
	case ok := <-k.approve:
		if !ok {
			return nil, errors.New("denied")
		}
	case <-ctx.Done():
		k.withdrawn <- struct{}{}
		return nil, ctx.Err()
	}
	s, err := k.remote.Sign(rand.Reader, r.Data)
	if err != nil {
		return nil, err
	}
	return ssh.Marshal(s), nil
}

func (k *keys) RemoveAll() {
	k.listing.Store(NewListing(k.listing.Load().Identities()[1:]))
}

func (k *keys) Remove(blob []byte) bool {
	held := bytes.Equal(blob, k.local.PublicKey().Marshal())
	if held {
		k.RemoveAll()
	}
	return held
}

// serve runs a server until the test ends and returns its socket.
func serve(t testing.TB, cfg Config) string {
	t.Helper()
	path := socketPath(t)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- New(cfg).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return path
}

func socketPath(t testing.TB) string { return filepath.Join(testkit.SocketDir(t), "s") }

func dial(t testing.TB, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// message puts a length in front of a type and its contents.
func message(kind byte, contents ...[]byte) []byte {
	body := append([]byte{0, 0, 0, 0, kind}, bytes.Join(contents, nil)...)
	binary.BigEndian.PutUint32(body, uint32(len(body)-headerSize))
	return body
}

func sshString(s []byte) []byte { return sshctx.AppendString(nil, s) }

func signMessage(blob, data []byte) []byte {
	return message(msgSignRequest, sshString(blob), sshString(data), []byte{0, 0, 0, 0})
}

func send(t testing.TB, c net.Conn, frames ...[]byte) {
	t.Helper()
	if _, err := c.Write(bytes.Join(frames, nil)); err != nil {
		t.Fatal(err)
	}
}

// receive reads one answer, without its length.
func receive(t testing.TB, c net.Conn) []byte {
	t.Helper()
	answer, err := readFrame(c, 5*time.Second)
	if err != nil {
		t.Fatalf("read an answer: %v", err)
	}
	return answer
}

func readFrame(c net.Conn, timeout time.Duration) ([]byte, error) {
	c.SetReadDeadline(time.Now().Add(timeout))
	defer c.SetReadDeadline(time.Time{})
	var header [headerSize]byte
	if _, err := readFull(c, header[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint32(header[:]))
	_, err := readFull(c, answer)
	return answer, err
}

func readFull(c net.Conn, b []byte) (int, error) {
	for n := 0; n < len(b); {
		m, err := c.Read(b[n:])
		if n += m; err != nil && n < len(b) {
			return n, err
		}
	}
	return len(b), nil
}

// wantAnswer sends one message and checks the number of the answer.
func wantAnswer(t testing.TB, c net.Conn, frame []byte, want byte) []byte {
	t.Helper()
	send(t, c, frame)
	answer := receive(t, c)
	if len(answer) == 0 || answer[0] != want {
		t.Fatalf("message %d: answer %x, want number %d", frame[headerSize], answer, want)
	}
	return answer
}

// listsWithin checks that the agent lists, whatever else waits: where it did not, it
// would wait for a phone that never answers.
func listsWithin(t testing.TB, c net.Conn) {
	t.Helper()
	send(t, c, message(msgRequestIdentities))
	answer, err := readFrame(c, patience)
	if err != nil || answer[0] != msgIdentitiesAnswer {
		t.Fatalf("the list: %v, %x", err, answer)
	}
}
