package agent

import (
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"vmux/internal/sshagent"
	"vmux/internal/sshconfig"
)

// maxConfigTime is how long a login waits for files of the user's to be read, which
// may stand on a disk or a network that does not answer.
const maxConfigTime = 50 * time.Millisecond

// choice is which keys the user has named for a login, by -i, IdentityFile or
// CertificateFile: ssh takes them from the agent only if they are listed. What is
// found too much stands further up in a list, and no more.
type choice struct {
	blobs map[string]bool
	// unclear: keys are named in a way that only ssh can make out.
	unclear bool
}

func (c choice) has(id *identity) bool { return c.blobs[string(id.PublicKeyBlob)] }

// chosenBy reads the choice of a client that runs on this computer.
func (a *Agent) chosenBy(peer sshagent.Peer) choice {
	return within(&a.reading, choice{unclear: true}, func() choice {
		login := sshconfig.Read(clientOf(peer))
		return choice{login.Keys, login.Unclear}
	})
}

// clientOf is what the system tells of a client that runs on this computer.
func clientOf(peer sshagent.Peer) sshconfig.Client {
	c := sshconfig.Client{Args: wordsOf(argumentsOf(peer.PID)), Dir: folderOf(peer.PID), UID: strconv.Itoa(peer.UID)}
	c.Env, _ = environmentOf(peer.PID)
	if u, err := user.LookupId(c.UID); err == nil {
		c.User, c.Home = u.Username, u.HomeDir
	} else if home, err := os.UserHomeDir(); err == nil {
		c.Home = home
	}
	return c
}

// wordsOf splits what argumentsOf returns.
func wordsOf(arguments []byte) []string {
	text := strings.TrimSuffix(string(arguments), "\x00")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x00")
}

// readings is what still reads after its time: while there is any, nothing else
// begins, so that a disk that does not answer costs neither time nor memory.
type readings struct{ late atomic.Int32 }

// within returns what read returns, or otherwise when that takes too long.
func within[T any](r *readings, otherwise T, read func() T) T {
	if r.late.Load() > 0 {
		return otherwise
	}
	done := make(chan T, 1)
	go func() { done <- read() }()
	timer := time.NewTimer(maxConfigTime)
	defer timer.Stop()
	select {
	case result := <-done:
		return result
	case <-timer.C:
	}
	select {
	case result := <-done: // both, on a busy computer
		return result
	default:
	}
	r.late.Add(1)
	go func() {
		<-done
		r.late.Add(-1)
	}()
	return otherwise
}
