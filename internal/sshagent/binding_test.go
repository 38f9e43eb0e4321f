package sshagent

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// exchange is a session ID of the size that SHA-256 key exchanges make, for
// people to tell apart by its beginning.
func exchange(name string) string { return name + strings.Repeat(".", 32-len(name)) }

// bindMessage is what ssh tells of a session.
func bindMessage(t testing.TB, host ssh.Signer, session string, forwarding byte) []byte {
	t.Helper()
	return message(msgExtension, sshString([]byte(ExtensionSessionBind)), bindContents(t, host, session, forwarding))
}

func bindContents(t testing.TB, host ssh.Signer, session string, forwarding byte) []byte {
	t.Helper()
	s, err := host.Sign(rand.Reader, []byte(session))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Join([][]byte{
		sshString(host.PublicKey().Marshal()), sshString([]byte(session)), sshString(ssh.Marshal(s)), {forwarding},
	}, nil)
}

func TestBindings(t *testing.T) {
	k := newKeys(t)
	path := serve(t, Config{Backend: k})
	c, owner := dial(t, path), dial(t, path)
	passphrase := sshString([]byte("x"))
	wantAnswer(t, c, bindMessage(t, k.local, exchange("one"), 1), msgSuccess)
	wantAnswer(t, c, bindMessage(t, k.local, exchange("one"), 1), msgSuccess)           // told twice
	wantAnswer(t, c, bindMessage(t, k.remote, exchange("one"), 1), msgExtensionFailure) // another host's session
	wantAnswer(t, owner, message(msgLock, passphrase), msgSuccess)
	wantAnswer(t, c, bindMessage(t, k.remote, exchange("two"), 0), msgSuccess) // also while locked
	wantAnswer(t, owner, message(msgUnlock, passphrase), msgSuccess)
	wantAnswer(t, c, bindMessage(t, k.remote, exchange("three"), 0), msgExtensionFailure) // after one for authentication

	send(t, c, signMessage(k.remote.PublicKey().Marshal(), nil))
	b := (<-k.asked).Bindings
	if len(b) != 2 || string(b[0].SessionID) != exchange("one") || !b[0].Forwarding || string(b[1].SessionID) != exchange("two") || b[1].Forwarding {
		t.Errorf("bindings: %+v", b)
	}
}

// attacker: root on a host that the agent is forwarded to must not lock its owner
// out, guess the passphrase, or empty the agent.
func TestBoundConnectionsDoNotManage(t *testing.T) {
	k := newKeys(t)
	path := serve(t, Config{Backend: k})
	passphrase := sshString([]byte("x"))
	for _, forwarding := range []byte{0, 1} {
		c, owner := dial(t, path), dial(t, path)
		wantAnswer(t, c, bindMessage(t, k.local, exchange("one"), forwarding), msgSuccess)
		wantAnswer(t, c, message(msgRemoveAll), msgFailure)
		wantAnswer(t, c, message(msgLock, passphrase), msgFailure)
		wantAnswer(t, owner, message(msgLock, passphrase), msgSuccess)
		wantAnswer(t, c, message(msgUnlock, passphrase), msgFailure)
		wantAnswer(t, owner, message(msgUnlock, passphrase), msgSuccess)
	}
	// Nor by a binding that cannot be verified: it says that the connection has one.
	c := dial(t, path)
	forged := bytes.Replace(bindContents(t, k.local, exchange("session"), 1), []byte("session"), []byte("Session"), 1)
	wantAnswer(t, c, message(msgExtension, sshString([]byte(ExtensionSessionBind)), forged), msgExtensionFailure)
	wantAnswer(t, c, message(msgRemoveAll), msgFailure)
	wantAnswer(t, c, message(msgLock, passphrase), msgFailure)
}

// The backend knows the connection when it lists, and when it signs.
func TestBackendKnowsTheConnection(t *testing.T) {
	k := newKeys(t)
	told := make(chan Connection, 10)
	k.told = func(c Connection) { told <- c }
	c := dial(t, serve(t, Config{Backend: k}))
	wants := func(bindings int, listed bool) {
		t.Helper()
		if got := <-told; len(got.Bindings) != bindings || (got.Listed == k.listing.Load()) != listed || got.Peer.PID != os.Getpid() {
			t.Errorf("told %+v, want %d bindings, listed %v", got, bindings, listed)
		}
	}
	passphrase := sshString([]byte("x"))
	wantAnswer(t, c, message(msgLock, passphrase), msgSuccess)
	wantAnswer(t, c, message(msgRequestIdentities), msgIdentitiesAnswer) // the empty list, which counts as none
	wantAnswer(t, c, message(msgUnlock, passphrase), msgSuccess)
	wantAnswer(t, c, bindMessage(t, k.local, exchange("one"), 1), msgSuccess)
	wantAnswer(t, c, message(msgRequestIdentities), msgIdentitiesAnswer)
	wants(1, false)
	wantAnswer(t, c, bindMessage(t, k.local, exchange("two"), 0), msgSuccess)
	wantAnswer(t, c, signMessage(k.local.PublicKey().Marshal(), nil), msgSignResponse)
	wants(2, true)
}

func TestBindingsAreBounded(t *testing.T) {
	k := newKeys(t)
	c := dial(t, serve(t, Config{Backend: k}))
	for i := range maxBindings {
		wantAnswer(t, c, bindMessage(t, k.local, exchange(fmt.Sprint("session ", i)), 1), msgSuccess)
	}
	wantAnswer(t, c, bindMessage(t, k.local, exchange("one too many"), 1), msgExtensionFailure)
	listsWithin(t, c)
}

// A host key of a type that is newer than this program: ssh has verified it, and
// that the connection is bound, or forwarded, must not get lost.
func TestBindingByANewerTypeOfHostKey(t *testing.T) {
	k := newKeys(t)
	c := dial(t, serve(t, Config{Backend: k}))
	key := sshString(append(sshString([]byte("ssh-mldsa44-ed25519")), sshString(make([]byte, 1344))...))
	bind := func(session string, forwarding byte) []byte {
		contents := bytes.Join([][]byte{key, sshString([]byte(exchange(session))), sshString(make([]byte, 2500)), {forwarding}}, nil)
		return message(msgExtension, sshString([]byte(ExtensionSessionBind)), contents)
	}
	wantAnswer(t, c, bind("one", 1), msgSuccess)
	wantAnswer(t, c, bind("two", 0), msgSuccess)
	wantAnswer(t, c, bind("three", 0), msgExtensionFailure) // after one for authentication
	wantAnswer(t, c, message(msgRemoveAll), msgFailure)
	send(t, c, signMessage(k.remote.PublicKey().Marshal(), nil))
	b := (<-k.asked).Bindings
	if len(b) != 2 || !b[0].Forwarding || b[1].Forwarding || string(b[1].SessionID) != exchange("two") {
		t.Errorf("bindings: %+v", b)
	}
}

func TestBadBindings(t *testing.T) {
	k := newKeys(t)
	socket := serve(t, Config{Backend: k})
	c := dial(t, socket)
	good := bindContents(t, k.local, exchange("session"), 1)
	name := sshString([]byte(ExtensionSessionBind))
	forged := bytes.Replace(good, []byte("session"), []byte("Session"), 1)
	for _, contents := range [][]byte{
		nil, good[:len(good)-1], append(bytes.Clone(good), 0), append(bytes.Clone(good[:len(good)-1]), 2), forged,
		bindContents(t, k.local, "", 1), bindContents(t, k.local, string(make([]byte, 129)), 1),
		bindContents(t, k.local, "of no hash's size", 1),
	} {
		wantAnswer(t, c, message(msgExtension, name, contents), msgExtensionFailure)
	}
	wantAnswer(t, c, message(msgExtension, sshString([]byte(extensionQuery)), []byte("x")), msgExtensionFailure)
	send(t, c, signMessage(k.remote.PublicKey().Marshal(), nil))
	if r := <-k.asked; len(r.Bindings) != 0 || !r.Unproven {
		t.Errorf("bindings were kept, or forgotten: %+v", r)
	}
	// Nor does it sign by itself for who knows whom.
	c = dial(t, socket)
	wantAnswer(t, c, message(msgExtension, name, forged), msgExtensionFailure)
	wantAnswer(t, c, signMessage(k.local.PublicKey().Marshal(), nil), msgFailure)
}

// The backend is told of the end of a connection on which identities were listed, and
// by an ID of its own which one it was.
func TestBackendKnowsTheEnd(t *testing.T) {
	k := newKeys(t)
	told, closed := make(chan Connection, 10), make(chan Connection, 10)
	k.told = func(c Connection) { told <- c }
	path := serve(t, Config{Backend: k, Closed: func(c Connection) { closed <- c }})
	silent, first, second := dial(t, path), dial(t, path), dial(t, path)
	wantAnswer(t, silent, bindMessage(t, k.local, exchange("silent"), 0), msgSuccess)
	var ids []uint64
	for _, c := range []net.Conn{first, second} {
		wantAnswer(t, c, bindMessage(t, k.local, exchange("login"), 0), msgSuccess)
		wantAnswer(t, c, message(msgRequestIdentities), msgIdentitiesAnswer)
		ids = append(ids, (<-told).ID)
	}
	if ids[0] == ids[1] {
		t.Errorf("two connections are both %d", ids[0])
	}
	silent.Close()
	for i, c := range []net.Conn{second, first} {
		c.Close()
		if got := <-closed; got.ID != ids[1-i] || len(got.Bindings) != 1 || got.Listed == nil {
			t.Errorf("closed: %+v, want connection %d", got, ids[1-i])
		}
	}
}
