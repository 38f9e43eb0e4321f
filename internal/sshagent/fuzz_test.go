package sshagent

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshctx"
)

// Whatever parses as a signature request is made of just these bytes.
func FuzzParseSignRequest(f *testing.F) {
	f.Add(signMessage([]byte("blob"), []byte("data"))[headerSize:])
	f.Add(signMessage(nil, nil)[headerSize:])
	f.Add([]byte{msgSignRequest, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, msg []byte) {
		if len(msg) == 0 {
			return
		}
		var r signRequest
		if ssh.Unmarshal(msg, &r) != nil {
			return
		}
		again := sshctx.AppendString(sshctx.AppendString(msg[:1:1], r.Blob), r.Data)
		if again = binary.BigEndian.AppendUint32(again, r.Flags); !bytes.Equal(again, msg) {
			t.Errorf("%x became %x", msg, again)
		}
	})
}

// Whatever parses as a binding verifies again, and is made of just these bytes.
func FuzzParseBinding(f *testing.F) {
	k := newKeys(f)
	f.Add(bindContents(f, k.local, exchange("session"), 1))
	f.Add(bindContents(f, k.remote, exchange("another"), 0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, contents []byte) {
		b, err := sshctx.ParseBinding(contents)
		if err != nil {
			return
		}
		again := sshctx.AppendString(sshctx.AppendString(sshctx.AppendString(nil, b.HostKey), b.SessionID), b.Signature)
		forwarding := byte(0)
		if b.Forwarding {
			forwarding = 1
		}
		if again = append(again, forwarding); !bytes.Equal(again, contents) {
			t.Errorf("%x became %x", contents, again)
		}
		if err := b.Verify(); err != nil {
			t.Error(err)
		}
	})
}

// Any bytes on a connection: each whole message gets one answer, and the
// connection ends at the first length that is too long.
func FuzzConnection(f *testing.F) {
	k := newKeys(f)
	f.Add(message(msgRequestIdentities))
	f.Add(append(signMessage(k.local.PublicKey().Marshal(), []byte("data")), message(msgRemoveAll)...))
	f.Add(append(message(msgLock, sshString(nil)), message(msgUnlock, sshString(nil))...))
	f.Add(message(msgExtension, sshString([]byte(extensionQuery))))
	f.Add(bindMessage(f, k.local, "session", 1))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 9, 11})
	f.Fuzz(func(t *testing.T, sent []byte) {
		server := New(Config{Backend: noKeys{}, FrameTimeout: time.Second})
		mine, its := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer its.Close()
			server.newClient(its, Peer{}).serve(context.Background())
		}()
		go mine.Write(sent)
		for range answersDue(sent) {
			if _, err := readFrame(mine, 20*time.Second); err != nil {
				t.Errorf("an answer is missing: %v", err)
			}
		}
		mine.Close()
		<-done
	})
}

// answersDue is how many answers a stream of messages gets.
func answersDue(sent []byte) (n int) {
	for len(sent) >= headerSize {
		length := binary.BigEndian.Uint32(sent)
		if length > MaxFrame {
			return n + 1
		}
		if uint64(length) > uint64(len(sent)-headerSize) {
			return n
		}
		sent = sent[headerSize+length:]
		n++
	}
	return n
}
