package upstream

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	sshclient "golang.org/x/crypto/ssh/agent"

	"vmux/internal/leakcheck"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

// patience bounds waits that nothing else ends.
const patience = 30 * time.Second

// serve lets a function serve each connection to a socket until the test ends.
func serve(t *testing.T, connection func(net.Conn)) (socket string, stop func()) {
	t.Helper()
	socket = filepath.Join(testkit.SocketDir(t), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connection(c)
		}
	}()
	stop = func() { l.Close(); <-ended }
	t.Cleanup(stop)
	return socket, stop
}

// answering serves what a function makes of each message, one connection after the other.
func answering(t *testing.T, answer func(msg []byte) []byte) string {
	socket, _ := serve(t, func(c net.Conn) {
		defer c.Close()
		for {
			msg, err := receive(c)
			if err != nil {
				return
			}
			if _, err := c.Write(answer(msg)); err != nil {
				return
			}
		}
	})
	return socket
}

func receive(c net.Conn) ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(c, header[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint32(header[:]))
	_, err := io.ReadFull(c, msg)
	return msg, err
}

func frame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// listing answers lists by these keys, and all else by a failure.
func listing(count int, keys ...identity) func([]byte) []byte {
	body := ssh.Marshal(identitiesAnswer{Count: uint32(count)})
	for _, k := range keys {
		body = append(body, ssh.Marshal(k)...)
	}
	return func(msg []byte) []byte {
		if msg[0] != msgRequestIdentities {
			return frame([]byte{msgFailure})
		}
		return frame(body)
	}
}

func newAgent(t *testing.T, socket string) *Agent {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	return New(Config{Socket: socket, ID: bytes.Repeat([]byte{7}, sshagent.IDSize), Changed: func() {}, Go: func(f func(context.Context)) bool {
		running.Go(func() { f(ctx) })
		return true
	}})
}

func comments(list []sshagent.Identity) string {
	var all []string
	for _, id := range list {
		all = append(all, id.Comment)
	}
	return fmt.Sprint(all)
}

func TestListAndSign(t *testing.T) {
	keyring := sshclient.NewKeyring()
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	if err := keyring.Add(sshclient.AddedKey{PrivateKey: private, Comment: "theirs\nü"}); err != nil {
		t.Fatal(err)
	}
	socket, _ := serve(t, func(c net.Conn) { sshclient.ServeAgent(keyring, c); c.Close() })
	a := newAgent(t, socket)
	list, err := a.List(t.Context(), sshagent.Connection{})
	if err != nil || comments(list) != "[theirs�ü]" {
		t.Fatalf("%v, %s", err, comments(list))
	}
	blob, err := a.Sign(t.Context(), sshagent.SignRequest{Blob: list[0].Blob, Data: []byte("data")})
	if err != nil {
		t.Fatal(err)
	}
	var signature ssh.Signature
	key, _ := ssh.ParsePublicKey(list[0].Blob)
	if err := ssh.Unmarshal(blob, &signature); err != nil || key.Verify([]byte("data"), &signature) != nil {
		t.Errorf("the signature: %v", err)
	}
	if _, err := a.Sign(t.Context(), sshagent.SignRequest{Blob: testkit.NewKey(t).PublicKey().Marshal()}); !errors.Is(err, ErrRefused) {
		t.Errorf("an unknown key: %v", err)
	}
}

// The client's bindings come before each request, as they were, and so do the agents by
// which the client comes.
func TestBindingsComeFirst(t *testing.T) {
	var got []string
	socket := answering(t, func(msg []byte) []byte {
		got = append(got, string(msg))
		return listing(0)(msg)
	})
	bindings := []sshctx.Binding{
		{HostKey: []byte("one"), SessionID: []byte("1"), Signature: []byte("s"), Forwarding: true}, {HostKey: []byte("two")},
	}
	a := newAgent(t, socket)
	if _, err := a.List(t.Context(), sshagent.Connection{Bindings: bindings, PassedBy: bytes.Repeat([]byte{1}, sshagent.IDSize)}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		string(ssh.Marshal(extension{sshagent.ExtensionPassedOn, append(bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{7}, 16)...)})),
		string(ssh.Marshal(extension{sshagent.ExtensionSessionBind, bindings[0].Marshal()})),
		string(ssh.Marshal(extension{sshagent.ExtensionSessionBind, bindings[1].Marshal()})),
		string([]byte{msgRequestIdentities}),
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

// A key of a type that is newer than this program is listed as it is. One that is malformed
// would have ssh refuse the whole list, the phone-held keys with it.
func TestKeysThatCannotBeRead(t *testing.T) {
	good := testkit.NewKey(t).PublicKey().Marshal()
	short, err := ssh.NewPublicKey(&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1000), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	newer := sshctx.AppendString(sshctx.AppendString(nil, "ssh-mldsa44-ed25519"), make([]byte, 1344))
	ca, certified := testkit.NewKey(t), &ssh.Certificate{Key: testkit.NewKey(t).PublicKey(), CertType: ssh.UserCert, ValidBefore: ssh.CertTimeInfinity}
	if err := certified.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	wrong := *certified
	wrong.Serial++
	socket := answering(t, listing(10,
		identity{Blob: certified.Marshal(), Comment: "certificate"},
		identity{Blob: wrong.Marshal(), Comment: "certificate with another one's signature"},
		identity{Blob: certified.Marshal()[:200], Comment: "cut certificate"},
		identity{Blob: newer, Comment: "newer"},
		identity{Blob: good[:len(good)-1], Comment: "cut"},
		identity{Blob: append(slices.Clone(good), 0), Comment: "with more behind"},
		identity{Blob: nil, Comment: "empty"},
		identity{Blob: short.Marshal(), Comment: "short RSA"},
		identity{Blob: sshctx.AppendString(sshctx.AppendString(nil, "ssh-new"), make([]byte, maxBlob)), Comment: "huge"},
		identity{Blob: good, Comment: "good\x00\x1b[2J"},
	))
	list, err := newAgent(t, socket).List(t.Context(), sshagent.Connection{})
	if err != nil || comments(list) != "[certificate newer good��[2J]" || !bytes.Equal(list[1].Blob, newer) {
		t.Errorf("%v, %s", err, comments(list))
	}
}

// ssh refuses a list of more than 2,048 keys.
func TestLongList(t *testing.T) {
	keys := make([]identity, 10000)
	for n := range keys {
		keys[n] = identity{Blob: sshctx.AppendString(sshctx.AppendString(nil, "x"), []byte{byte(n), byte(n >> 8)})}
	}
	list, err := newAgent(t, answering(t, listing(len(keys), keys...))).List(t.Context(), sshagent.Connection{})
	if err != nil || len(list) != maxKeys {
		t.Errorf("%d keys, %v", len(list), err)
	}
}

func TestGarbage(t *testing.T) {
	key := identity{Blob: testkit.NewKey(t).PublicKey().Marshal()}
	for name, answer := range map[string][]byte{
		"another message":     frame([]byte{14, 0, 0, 0, 0}),
		"more keys than said": listing(1, key, key)([]byte{msgRequestIdentities}),
		"fewer keys":          listing(1<<31-1, key)([]byte{msgRequestIdentities}),
		"a cut key":           frame(append(ssh.Marshal(identitiesAnswer{Count: 1}), 0, 0, 1, 0, 'x')),
		"a huge one":          {0, 4, 0, 1, 12},
		"4 GiB":               {0xff, 0xff, 0xff, 0xff, 12},
		"nothing":             {0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, answering(t, func(msg []byte) []byte {
				if msg[0] != msgRequestIdentities {
					return frame([]byte{msgFailure})
				}
				return answer
			}))
			if list, err := a.List(t.Context(), sshagent.Connection{}); !errors.Is(err, ErrGarbage) {
				t.Errorf("%v, %v", list, err)
			}
		})
	}
	for name, answer := range map[string][]byte{"another message": frame([]byte{12, 0, 0, 0, 0}), "cut": frame([]byte{14, 0, 0, 0, 9})} {
		a := newAgent(t, answering(t, func([]byte) []byte { return answer }))
		if _, err := a.Sign(t.Context(), sshagent.SignRequest{}); !errors.Is(err, ErrGarbage) {
			t.Errorf("signature, %s: %v", name, err)
		}
	}
	socket, _ := serve(t, func(c net.Conn) { c.Close() })
	if _, err := newAgent(t, socket).List(t.Context(), sshagent.Connection{}); err == nil {
		t.Error("a list of one that hangs up")
	}
}

// An agent that is not there yet, or again, needs nothing but to be there.
func TestAbsentAndRestarted(t *testing.T) {
	socket, stop := serve(t, func(c net.Conn) { sshclient.ServeAgent(sshclient.NewKeyring(), c); c.Close() })
	a := newAgent(t, socket)
	if _, err := a.List(t.Context(), sshagent.Connection{}); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := a.List(t.Context(), sshagent.Connection{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is gone: %v", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if _, err := a.List(t.Context(), sshagent.Connection{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
}

// One that says nothing delays one list, and no more until it has answered again.
func TestSilentAgent(t *testing.T) {
	speak := make(chan struct{})
	asked := make(chan struct{}, 10)
	socket, _ := serve(t, func(c net.Conn) {
		go func() {
			defer c.Close()
			for {
				msg, err := receive(c)
				if err != nil {
					return
				}
				if msg[0] == msgRequestIdentities {
					asked <- struct{}{}
					<-speak
				}
				c.Write(listing(0)(msg))
			}
		}()
	})
	a := newAgent(t, socket)
	hurried, cancelHurried := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancelHurried()
	if _, err := a.List(hurried, sshagent.Connection{}); !errors.Is(err, context.DeadlineExceeded) || a.silent {
		t.Fatalf("a caller without patience: %v, %v", err, a.silent)
	}
	answers := make(chan struct{}, 10)
	a.Changed = func() { answers <- struct{}{} }
	if _, err := a.List(t.Context(), sshagent.Connection{}); !errors.Is(err, ErrSilent) {
		t.Fatalf("the first list: %v", err)
	}
	<-answers // it is said not to answer
	<-asked
	<-asked // by the probe
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // which would end any wait
	if _, err := a.List(ctx, sshagent.Connection{}); !errors.Is(err, ErrSilent) {
		t.Errorf("the second list: %v", err)
	}
	close(speak)
	select {
	case <-answers:
	case <-time.After(patience):
		t.Fatal("that it answers again is not noticed")
	}
	if _, err := a.List(t.Context(), sshagent.Connection{}); err != nil {
		t.Errorf("after it has answered: %v", err)
	}
}

// A request ends with the client's patience, which is all that bounds it: the other agent
// may ask a person.
func TestRequestEndsWithItsContext(t *testing.T) {
	asked := make(chan struct{})
	socket, _ := serve(t, func(c net.Conn) {
		go func() {
			defer c.Close()
			msg, err := receive(c)
			for err == nil && msg[0] == 27 {
				c.Write(frame([]byte{msgFailure}))
				msg, err = receive(c)
			}
			close(asked)
			receive(c) // until it is closed
		}()
	})
	a := newAgent(t, socket)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := a.Sign(ctx, sshagent.SignRequest{}); done <- err }()
	<-asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// attacker: a crowd of requests that wait. A further one is refused at once.
func TestRequestsAreBounded(t *testing.T) {
	a := newAgent(t, filepath.Join(t.TempDir(), "none"))
	for range maxRequests {
		a.requests <- struct{}{}
	}
	if _, err := a.Pass(t.Context(), sshagent.Connection{}, []byte{1}); !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
}

// An answer of its own tells that a request has come in a circle. Another agent's refusal
// of an extension that it does not know does not.
func TestCircle(t *testing.T) {
	for number, want := range map[byte]error{msgExtensionResponse: ErrLoop, msgExtensionFailure: ErrRefused, msgFailure: ErrRefused, 6: ErrRefused} {
		a := newAgent(t, answering(t, func(msg []byte) []byte {
			if msg[0] == 27 {
				return frame([]byte{number})
			}
			return frame([]byte{msgFailure})
		}))
		if _, err := a.List(t.Context(), sshagent.Connection{}); !errors.Is(err, want) {
			t.Errorf("answer %d: %v", number, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	public, err := ssh.NewPublicKey(&key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(listing(1, identity{Blob: public.Marshal(), Comment: "c"})([]byte{msgRequestIdentities})[4:])
	f.Add([]byte{msgFailure})
	f.Add([]byte{14, 0, 0, 0, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		list, err := parseList(b)
		if err != nil && list != nil || len(list) > maxKeys {
			t.Errorf("%d keys, %v", len(list), err)
		}
		_, _ = parseSignature(b)
	})
}
