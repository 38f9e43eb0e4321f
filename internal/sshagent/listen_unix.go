//go:build unix

package sshagent

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listen makes the agent's socket at path, readable and writable by this user
// alone, in a folder that is made with mode 0700 if it is missing. A stale
// socket is taken over. A live one, a symbolic link, anything else and somebody
// else's file is left alone, and the error says what is in the way.
//
// A lock on a file beside the socket is held while it is served: of two agents
// that start at once, one is refused.
func Listen(path string) (net.Listener, error) {
	if err := prepareFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	held, err := holdLock(path + ".lock")
	if err != nil {
		return nil, err
	}
	if err := clearStale(path); err != nil {
		held.Close()
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		held.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		held.Close()
		return nil, fmt.Errorf("restrict %s: %w", path, err)
	}
	return &lockedListener{UnixListener: l, held: held}, nil
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
		return fmt.Errorf("%s can be written by others (mode %04o)", dir, info.Mode().Perm())
	}
	return nil
}

// holdLock locks the file and writes the process ID into it. The file stays
// when the agent ends: removing it would let two agents hold two files.
func holdLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the socket's lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another agent (process %s) serves this socket", holder(f))
		}
		return nil, fmt.Errorf("lock the socket: %w", err)
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("write the socket's lock: %w", err)
	}
	return f, nil
}

func holder(f *os.File) string {
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	if pid := strings.TrimSpace(string(b[:n])); pid != "" {
		return pid
	}
	return "unknown"
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
		return fmt.Errorf("%s is a symbolic link", path)
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is not a socket", path)
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
		return fmt.Errorf("another program (process %s) serves %s", pid, path)
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

// checkPeer refuses every user but this one.
func checkPeer(c net.Conn) (Peer, error) {
	p, err := peerOf(c)
	if err != nil {
		return Peer{}, fmt.Errorf("read peer credentials: %w", err)
	}
	if p.UID != os.Geteuid() {
		return Peer{}, fmt.Errorf("process %d belongs to user %d", p.PID, p.UID)
	}
	return p, nil
}

// CheckPeer returns the process at the other end of a Unix connection, and an
// error if it belongs to another user.
func CheckPeer(c net.Conn) (Peer, error) { return checkPeer(c) }

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
