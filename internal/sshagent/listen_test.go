//go:build unix

package sshagent

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"vmux/internal/wire"
)

func TestListenModes(t *testing.T) {
	path := filepath.Join(filepath.Dir(socketPath(t)), "new", "s")
	old := syscall.Umask(0)
	l, err := Listen(path)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, want := range map[string]os.FileMode{path: os.ModeSocket | 0o600, filepath.Dir(path): os.ModeDir | 0o700} {
		info, err := os.Lstat(name)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

func TestSecondAgentIsRefused(t *testing.T) {
	path := serve(t, Config{Backend: newKeys(t)})
	_, err := Listen(path)
	if err == nil || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Fatalf("a second agent on the same socket: %v", err)
	}
	listsWithin(t, dial(t, path))
}

// An agent that was killed leaves its socket and its lock file behind.
func TestStaleSocketIsTakenOver(t *testing.T) {
	path := staleSocket(t)
	if err := os.WriteFile(path+".lock", []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket stays after an orderly end")
	}
}

func staleSocket(t *testing.T) string {
	t.Helper()
	path := socketPath(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	return path
}

// Of many agents that find a stale socket at once, one takes it over.
func TestTakeOverHasOneWinner(t *testing.T) {
	path := staleSocket(t)
	var wg sync.WaitGroup
	listeners := make([]net.Listener, 20)
	for i := range listeners {
		wg.Go(func() { listeners[i], _ = Listen(path) })
	}
	wg.Wait()
	winners := 0
	for _, l := range listeners {
		if l != nil {
			winners++
			defer l.Close()
		}
	}
	if winners != 1 {
		t.Fatalf("%d agents have the socket", winners)
	}
	dial(t, path)
}

// What is in the place and not a stale socket of the user's own stays as it is.
func TestListenLeavesOthersAlone(t *testing.T) {
	for name, place := range map[string]func(path string) error{
		"is not a socket":    func(path string) error { return os.WriteFile(path, []byte("precious"), 0o600) },
		"is a symbolic link": func(path string) error { return os.Symlink("/nowhere", path) },
	} {
		path := socketPath(t)
		if err := place(path); err != nil {
			t.Fatal(err)
		}
		before, _ := os.Lstat(path)
		if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s: it was replaced, %v", name, err)
		}
	}
}

// The lock may not be a way to write into somebody's file either.
func TestLockFileIsNoLink(t *testing.T) {
	path := socketPath(t)
	precious := path + ".precious"
	os.WriteFile(precious, []byte("precious"), 0o600)
	os.Symlink(precious, path+".lock")
	if _, err := Listen(path); err == nil || wire.HintOf(err) != "choose another path with --socket" {
		t.Errorf("with a symbolic link in the place of the lock: %v, hint %q", err, wire.HintOf(err))
	}
	if b, _ := os.ReadFile(precious); string(b) != "precious" {
		t.Errorf("the link's target now says %q", b)
	}
}

func TestListenLeavesALiveSocketAlone(t *testing.T) {
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("somebody else's live socket: %v", err)
	}
	dial(t, path)
}

func TestListenFolder(t *testing.T) {
	open := filepath.Join(filepath.Dir(socketPath(t)), "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(filepath.Join(open, "s")); err == nil || !strings.Contains(err.Error(), "written by others") {
		t.Errorf("a folder that others can write: %v", err)
	}
	if _, err := Listen("/" + strings.Repeat("x", maxPath)); err == nil || !strings.Contains(err.Error(), "bytes long") {
		t.Errorf("a path that is too long: %v", err)
	}
}

// The system's own word about the other process: it counts who connected.
func TestPeerIsTheConnectingProcess(t *testing.T) {
	path := socketPath(t)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	child := exec.CommandContext(context.Background(), "/usr/bin/ssh-add", "-l")
	child.Env = []string{"SSH_AUTH_SOCK=" + path}
	if err := child.Start(); err != nil {
		t.Fatalf("%v: run make setup", err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	peer, err := CheckPeer(c)
	if err != nil || peer != (Peer{PID: child.Process.Pid, UID: os.Geteuid()}) {
		t.Errorf("the peer is %+v, %v, want process %d", peer, err, child.Process.Pid)
	}
	c.Close()
	child.Wait()
}
