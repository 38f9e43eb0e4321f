package sshagent

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"

	"golang.org/x/crypto/ssh"
)

// bindMessage is what ssh tells of a session.
func bindMessage(t testing.TB, host ssh.Signer, session string, forwarding byte) []byte {
	t.Helper()
	return message(msgExtension, sshString([]byte(extensionSessionBind)), bindContents(t, host, session, forwarding))
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
	c := dial(t, serve(t, Config{Backend: k}))
	passphrase := sshString([]byte("x"))
	wantAnswer(t, c, bindMessage(t, k.local, "one", 1), msgSuccess)
	wantAnswer(t, c, bindMessage(t, k.local, "one", 1), msgSuccess)           // told twice
	wantAnswer(t, c, bindMessage(t, k.remote, "one", 1), msgExtensionFailure) // another host's session
	wantAnswer(t, c, message(msgLock, passphrase), msgSuccess)
	wantAnswer(t, c, bindMessage(t, k.remote, "two", 0), msgSuccess) // also while locked
	wantAnswer(t, c, message(msgUnlock, passphrase), msgSuccess)
	wantAnswer(t, c, bindMessage(t, k.remote, "three", 0), msgExtensionFailure) // after one for authentication

	send(t, c, signMessage(k.remote.PublicKey().Marshal(), nil))
	b := (<-k.asked).Bindings
	if len(b) != 2 || string(b[0].SessionID) != "one" || !b[0].Forwarding || string(b[1].SessionID) != "two" || b[1].Forwarding {
		t.Errorf("bindings: %+v", b)
	}
}

func TestBindingsAreBounded(t *testing.T) {
	k := newKeys(t)
	c := dial(t, serve(t, Config{Backend: k}))
	for i := range maxBindings {
		wantAnswer(t, c, bindMessage(t, k.local, fmt.Sprint("session ", i), 1), msgSuccess)
	}
	wantAnswer(t, c, bindMessage(t, k.local, "one too many", 1), msgExtensionFailure)
	listsWithin(t, c)
}

func TestBadBindings(t *testing.T) {
	k := newKeys(t)
	c := dial(t, serve(t, Config{Backend: k}))
	good := bindContents(t, k.local, "session", 1)
	name := sshString([]byte(extensionSessionBind))
	forged := bytes.Replace(good, []byte("session"), []byte("Session"), 1)
	for _, contents := range [][]byte{
		nil, good[:len(good)-1], append(bytes.Clone(good), 0), append(bytes.Clone(good[:len(good)-1]), 2), forged,
		bindContents(t, k.local, "", 1), bindContents(t, k.local, string(make([]byte, maxSessionID+1)), 1),
	} {
		wantAnswer(t, c, message(msgExtension, name, contents), msgExtensionFailure)
	}
	wantAnswer(t, c, message(msgExtension, sshString([]byte(extensionQuery)), []byte("x")), msgExtensionFailure)
	send(t, c, signMessage(k.remote.PublicKey().Marshal(), nil))
	if b := (<-k.asked).Bindings; len(b) != 0 {
		t.Errorf("bindings were kept: %+v", b)
	}
}
