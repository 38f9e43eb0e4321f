package agent

import (
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vmux/internal/sshagent"
	"vmux/internal/sshconfig"
	"vmux/internal/wire"
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
	// unnamed: it may be any key that is named so.
	unnamed bool
	// namedOnly: ssh offers none but those that are named.
	namedOnly bool
	// copies: ssh-copy-id runs it, which puts a key on the server.
	copies bool
	// account is whom the login is for, as far as that can be seen.
	account string
	// typed, names and files are how ssh looks for the server's key.
	typed        string
	names, files []string
}

func (c choice) has(id *identity) bool { return c.blobs[string(id.PublicKeyBlob)] }

// choosing begins to read the choice of a client that runs on this computer.
func (a *Agent) choosing(peer sshagent.Peer) *reading[choice] {
	return begin(&a.reading, choice{unclear: true, unnamed: true}, func() choice {
		l := sshconfig.Read(clientOf(peer))
		return choice{l.Keys, l.Unclear, l.Unnamed, l.NamedOnly, copies(peer.PID), wire.Show(l.Account), l.Typed, l.Names, l.KnownHosts}
	})
}

// copies reports whether a script that puts a key on a server has started the process.
func copies(pid int) bool {
	p, ok := processOf(pid)
	if !ok {
		return false
	}
	script, ok := processOf(p.parent)
	return ok && runsInstaller(script, wordsOf(argumentsOf(p.parent)))
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
	return begin(r, otherwise, read).wait()
}

// reading is one that has begun.
type reading[T any] struct {
	of                *readings
	result, otherwise T
	done              chan struct{} // closed when result is there
	late              sync.Once
}

// begin reads while something else goes on. Somebody has to wait for it.
func begin[T any](r *readings, otherwise T, read func() T) *reading[T] {
	x := &reading[T]{of: r, result: otherwise, otherwise: otherwise, done: make(chan struct{})}
	if r.late.Load() > 0 {
		close(x.done)
		return x
	}
	go func() {
		defer close(x.done)
		x.result = read()
	}()
	return x
}

// wait returns what was read, or what it was to be otherwise if that takes too long
// from now on. It can be called more than once.
func (x *reading[T]) wait() T {
	timer := time.NewTimer(maxConfigTime)
	defer timer.Stop()
	select {
	case <-x.done:
		return x.result
	case <-timer.C:
	}
	select {
	case <-x.done: // both, on a busy computer
		return x.result
	default:
	}
	x.late.Do(func() {
		x.of.late.Add(1)
		go func() {
			<-x.done
			x.of.late.Add(-1)
		}()
	})
	return x.otherwise
}
