//go:build unix

package sshagent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vmux/internal/filelock"
	"vmux/internal/wire"
)

// maxPath is the longest path that fits sun_path on every Unix: 104 bytes on
// macOS and the BSDs, with a zero at the end.
const maxPath = 103

// Listen makes the agent's socket at path, readable and writable by this user
// alone, in a folder that is made with mode 0700 if it is missing. A stale
// socket is taken over. A live one, a symbolic link, anything else and somebody
// else's file is left alone, and the error says what is in the way.
//
// A lock on a file beside the socket is held while it is served: of two agents
// that start at once, one is refused.
func Listen(path string) (net.Listener, error) {
	l, err := listen(path)
	if err != nil && wire.HintOf(err) == "" {
		err = wire.WithHint(err, "choose another path with --socket")
	}
	return l, err
}

func listen(path string) (net.Listener, error) {
	if len(path) > maxPath {
		return nil, wire.WithHint(fmt.Errorf("the socket's path %s is %d bytes long, the system takes %d", path, len(path), maxPath), "choose a shorter one with --socket")
	}
	if err := prepareFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	held, err := holdLock(path + ".lock")
	if err != nil {
		return nil, err
	}
	var l *net.UnixListener
	if err = clearStale(path); err == nil {
		l, err = listenPrivate(path)
	}
	if err != nil {
		held.Close()
		return nil, err
	}
	return &lockedListener{UnixListener: l, held: held}, nil
}

// listenPrivate makes the socket with mode 0600 whatever the umask. On Linux it
// has that mode from its first moment: bind(2) gives it the descriptor's.
// Elsewhere the mode follows a moment later, and until then CheckPeer stands
// alone.
func listenPrivate(path string) (*net.UnixListener, error) {
	private := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), 0o600) })
	}}
	l, err := private.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("restrict %s: %w", path, err)
	}
	return l.(*net.UnixListener), nil
}

type lockedListener struct {
	*net.UnixListener
	held *os.File
}

// Close removes the socket, then lets the next agent have its place.
func (l *lockedListener) Close() error {
	err := l.UnixListener.Close()
	l.held.Close()
	return err
}

func prepareFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the socket's folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the socket's folder: %w", err)
	}
	if uid := ownerOf(info); uid != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d", dir, uid)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return wire.WithHint(fmt.Errorf("%s can be written by others (mode %04o)", dir, info.Mode().Perm()), "chmod go-w the folder, or choose another path with --socket")
	}
	return nil
}

// holdLock locks the file and writes the process ID into it. The file stays
// when the agent ends: removing it would let two agents hold two files.
func holdLock(path string) (*os.File, error) {
	f, err := filelock.TryLock(path)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, wire.WithHint(fmt.Errorf("another agent (process %s) serves %s", holder(path), strings.TrimSuffix(path, ".lock")), "use that one, or choose another path with --socket")
	}
	if err != nil {
		return nil, fmt.Errorf("lock the socket: %w", err)
	}
	// As many bytes whatever the number, over those of the agent before: to truncate the file
	// takes the disk longer.
	if _, err := f.WriteAt(fmt.Appendf(nil, "%-10d\n", os.Getpid()), 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("write the socket's lock: %w", err)
	}
	return f, nil
}

func holder(path string) string {
	b, _ := os.ReadFile(path)
	return cmp.Or(strings.TrimSpace(string(b)), "unknown")
}

func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the socket: %w", err)
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link; it is left alone", path)
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is not a socket; it is left alone", path)
	case ownerOf(info) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d", path, ownerOf(info))
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		pid := "unknown"
		if peer, err := peerOf(c); err == nil && peer.PID != 0 {
			pid = fmt.Sprint(peer.PID)
		}
		c.Close()
		return wire.WithHint(fmt.Errorf("another program (process %s) serves %s", pid, path), "end it, or choose another path with --socket")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s is in use: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the stale socket: %w", err)
	}
	return nil
}

func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// CheckUser returns the process at the other end of a Unix connection, and an error
// if it belongs to any user but this one and root, as ssh-agent does: `sudo ssh`,
// nix-daemon and Docker's daemon connect for this user, and root could do so in this
// user's name anyway.
func CheckUser(c net.Conn) (Peer, error) { return checkPeer(c, os.Geteuid(), Root) }

// CheckPeer returns the process at the other end of a Unix connection, and an
// error if it belongs to another user, root included.
func CheckPeer(c net.Conn) (Peer, error) { return checkPeer(c, os.Geteuid()) }

func checkPeer(c net.Conn, users ...int) (Peer, error) {
	p, err := peerOf(c)
	if err != nil {
		return Peer{}, fmt.Errorf("read peer credentials: %w", err)
	}
	if !slices.Contains(users, p.UID) {
		return Peer{}, fmt.Errorf("process %d belongs to user %d", p.PID, p.UID)
	}
	return p, nil
}

// onHangup closes gone when the other end has closed, whatever is still unread. Nobody may
// read from the connection before stop, which ends the waiting.
func onHangup(c net.Conn) (gone <-chan struct{}, stop func()) {
	closed, ended := make(chan struct{}), make(chan struct{})
	sc, ok := c.(syscall.Conn)
	if !ok {
		return closed, func() {}
	}
	go func() {
		defer close(ended)
		raw, err := sc.SyscallConn()
		if err != nil {
			return
		}
		// It is asked again whenever the system tells of a change: more to read, or the end.
		if raw.Read(func(fd uintptr) bool { return hungUp(int(fd)) }) == nil {
			close(closed)
		}
	}()
	return closed, func() {
		c.SetReadDeadline(time.Unix(1, 0)) // long past: ends the Read
		<-ended
		c.SetReadDeadline(time.Time{})
	}
}

// hungUp tells whether the other end has closed, whatever is still unread; where the
// system tells that only behind what is unread, when nothing is.
func hungUp(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLHUP}}
	if n, _ := unix.Poll(p, 0); n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0 {
		return true
	}
	n, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return n == 0 && err == nil
}

// descriptorLimit is how many file descriptors the process may have.
func descriptorLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<16))
}

// control runs f on the connection's descriptor.
func control(c net.Conn, f func(fd int) error) error {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return errors.New("not a Unix connection")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
