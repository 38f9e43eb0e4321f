package sshagent

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// other is an agent that messages are passed on to. It refuses those of the number refuses.
type other struct {
	mu      sync.Mutex
	got     []string // what was asked for, and the message
	last    Connection
	refuses byte
}

func (o *other) passOn(_ context.Context, c Connection, what string, msg []byte) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.got, o.last = append(o.got, what+":"+string(msg)), c
	if msg[0] == o.refuses {
		return []byte{msgFailure}, nil
	}
	return []byte{msgSuccess, 'x'}, nil
}

// wants checks what has been passed on since the last time.
func (o *other) wants(t *testing.T, want ...string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Equal(o.got, want) {
		t.Errorf("passed on: %q, want %q", o.got, want)
	}
	o.got = nil
}

func contents(frame []byte) string { return string(frame[headerSize:]) }

func TestMessagesArePassedOn(t *testing.T) {
	o := &other{}
	c := dial(t, serve(t, Config{Backend: newKeys(t), PassOn: o.passOn}))
	for _, number := range []byte{msgAdd, msgAddConstrained, msgAddSmartcard, msgAddSmartcardConst} {
		m := message(number, []byte("a key that nobody reads"))
		send(t, c, m)
		if answer := receive(t, c); !bytes.Equal(answer, []byte{msgSuccess, 'x'}) {
			t.Errorf("answer %q", answer)
		}
		o.wants(t, "add that key:"+contents(m))
	}
	for _, m := range [][]byte{
		message(9), message(21, []byte("token")), message(200, make([]byte, bufferSize)),
		message(msgExtension, sshString([]byte("unheard-of@example.com")), []byte("x")),
	} {
		wantAnswer(t, c, m, msgSuccess)
		o.wants(t, ":"+contents(m))
	}
	wantAnswer(t, c, message(msgExtension, sshString([]byte(extensionQuery))), msgExtensionResponse)
	listsWithin(t, c)
	o.wants(t)
}

// ssh-add -d and -D are for both: the certificate is gone even if the other agent fails.
func TestRemovalsArePassedOn(t *testing.T) {
	k, o := newKeys(t), &other{refuses: msgRemoveAll}
	var refused [][]byte
	path := serve(t, Config{Backend: k, PassOn: o.passOn, RemoveRefused: func(blob []byte) { refused = append(refused, bytes.Clone(blob)) }})
	c := dial(t, path)
	theirs := message(msgRemove, sshString([]byte("theirs")))
	wantAnswer(t, c, theirs, msgSuccess)
	o.wants(t, ":"+contents(theirs))
	wantAnswer(t, c, message(msgRemoveAll), msgFailure)
	o.wants(t, "remove all keys:"+contents(message(msgRemoveAll)))
	if n := len(receiveList(t, dial(t, path))); n != 1 {
		t.Errorf("%d keys after ssh-add -D", n)
	}
	if len(refused) != 0 {
		t.Errorf("refused: %q", refused)
	}
	o.refuses = msgRemove
	wantAnswer(t, c, theirs, msgFailure)
	if len(refused) != 1 || string(refused[0]) != "theirs" {
		t.Errorf("refused: %q", refused)
	}
}

// attacker: root on a host that the agent is forwarded to. Of the other agent it could have
// a PKCS #11 library loaded (CVE-2023-38408), keys added and removed, or it locked.
func TestNothingIsPassedOnForOtherHosts(t *testing.T) {
	k, o := newKeys(t), &other{}
	path := serve(t, Config{Backend: k, PassOn: o.passOn})
	bound, forwarded, forged := dial(t, path), dial(t, path), dial(t, path)
	wantAnswer(t, bound, bindMessage(t, k.local, exchange("one"), 0), msgSuccess)
	wantAnswer(t, forwarded, bindMessage(t, k.local, exchange("two"), 1), msgSuccess)
	wantAnswer(t, forged, message(msgExtension, sshString([]byte(ExtensionSessionBind)), []byte("x")), msgExtensionFailure)
	unbinding := dial(t, serve(t, Config{Backend: k, PassOn: o.passOn, MayManage: func(Connection) bool { return false }}))
	for _, c := range []net.Conn{bound, forwarded, forged, unbinding} {
		for number := range 256 {
			switch number {
			case msgRequestIdentities, msgSignRequest, msgExtension:
			default:
				wantAnswer(t, c, message(byte(number), sshString([]byte("x"))), msgFailure)
			}
		}
		wantAnswer(t, c, message(msgRemoveAll), msgFailure)
		wantAnswer(t, c, message(msgExtension, sshString([]byte("unheard-of@example.com"))), msgFailure)
	}
	o.wants(t)
}

// attacker: root on a host that a client of an unknown name, which binds nothing, forwards the
// agent to after a login by a password. Nothing but the program's name tells it from ssh-add.
func TestNothingIsPassedOnForUnknownPrograms(t *testing.T) {
	o, added := &other{}, 0
	c := dial(t, serve(t, Config{
		Backend: newKeys(t), PassOn: o.passOn, MayPassOn: func(Connection) bool { return false },
		AddRefused: func(Connection, bool) { added++ },
	}))
	for number := range 256 {
		switch number {
		case msgRequestIdentities, msgSignRequest, msgExtension, msgLock, msgUnlock:
		default:
			wantAnswer(t, c, message(byte(number), sshString([]byte("x"))), msgFailure)
		}
	}
	wantAnswer(t, c, message(msgUnlock, sshString([]byte("x"))), msgFailure)
	for _, number := range []byte{msgLock, msgUnlock} { // of this agent alone
		wantAnswer(t, c, message(number, sshString([]byte("x"))), msgSuccess)
	}
	wantAnswer(t, c, message(msgRemoveAll), msgFailure)
	wantAnswer(t, c, message(msgExtension, sshString([]byte("unheard-of@example.com"))), msgFailure)
	o.wants(t)
	if added != 4 {
		t.Errorf("%d additions were told of as refused, want 4", added)
	}
}

// ssh-add -x and -X are for both. What is only a guess reaches nobody else.
func TestLocksArePassedOn(t *testing.T) {
	o := &other{}
	c := dial(t, serve(t, Config{Backend: newKeys(t), PassOn: o.passOn}))
	lock, unlock := message(msgLock, sshString([]byte("open"))), message(msgUnlock, sshString([]byte("open")))
	wantAnswer(t, c, unlock, msgSuccess) // only the other one was locked
	o.wants(t, ":"+contents(unlock))
	o.refuses = msgLock
	wantAnswer(t, c, lock, msgSuccess) // nothing goes through this one
	o.wants(t, "lock itself:"+contents(lock))
	wantAnswer(t, c, lock, msgFailure)
	wantAnswer(t, c, message(msgAdd), msgFailure)
	wantAnswer(t, c, message(msgExtension, sshString([]byte("unheard-of@example.com"))), msgFailure)
	wantAnswer(t, c, message(msgUnlock, sshString([]byte("wrong"))), msgFailure)
	o.wants(t)
	o.refuses = msgUnlock
	wantAnswer(t, c, unlock, msgSuccess)
	o.wants(t, ":"+contents(unlock))
	listsWithin(t, c)
}

// Who goes away while the other agent asks a person takes the request back.
func TestPassedOnRequestIsWithdrawn(t *testing.T) {
	asked, ended := make(chan struct{}), make(chan error)
	c := dial(t, serve(t, Config{Backend: newKeys(t), PassOn: func(ctx context.Context, _ Connection, _ string, _ []byte) ([]byte, error) {
		close(asked)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}}))
	send(t, c, message(msgAdd, []byte("key")))
	<-asked
	c.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the request still waits though its client went away")
	}
}

func TestRequestsThatComeInACircle(t *testing.T) {
	k := newKeys(t)
	own, one := bytes.Repeat([]byte{1}, IDSize), bytes.Repeat([]byte{2}, IDSize)
	told := make(chan Connection, 10)
	k.told = func(c Connection) { told <- c }
	c := dial(t, serve(t, Config{Backend: k, ID: own}))
	by := func(ids ...[]byte) []byte {
		return message(msgExtension, sshString([]byte(ExtensionPassedOn)), bytes.Join(ids, nil))
	}
	wantAnswer(t, c, by(one, one), msgSuccess)
	wantAnswer(t, c, message(msgRequestIdentities), msgIdentitiesAnswer)
	if got := (<-told).PassedBy; !bytes.Equal(got, append(slices.Clone(one), one...)) {
		t.Errorf("passed on by %x", got)
	}
	wantAnswer(t, c, by(one, own), msgExtensionResponse)
	wantAnswer(t, c, by(slices.Repeat([][]byte{one}, maxHops)...), msgSuccess)
	wantAnswer(t, c, by(slices.Repeat([][]byte{one}, maxHops+1)...), msgExtensionResponse)
	wantAnswer(t, c, by(one, []byte("half")), msgExtensionFailure)
	wantAnswer(t, c, by(), msgSuccess)
}
