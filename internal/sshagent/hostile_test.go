package sshagent

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	childSocket = "VMUX_TEST_SOCKET"
	// starvedLimit is how many descriptors the child process may have.
	starvedLimit = 40
)

// resources is what a process uses.
type resources struct {
	goroutines, descriptors int
	heap                    uint64
}

func measure(t *testing.T) resources {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return resources{runtime.NumGoroutine(), descriptors(t, "self"), m.HeapAlloc}
}

func descriptors(t *testing.T, process string) int {
	t.Helper()
	dir := "/proc/" + process + "/fd"
	if runtime.GOOS != "linux" {
		dir = "/dev/fd"
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// The agent outlives a thousand connections, some of them with bad manners: the
// list answers within a second throughout, and afterwards everything is what it
// was.
func TestThousandConnections(t *testing.T) {
	const timeout = time.Second // for whole frames on a busy machine
	k := newKeys(t)
	path := serve(t, Config{Backend: k, FrameTimeout: timeout, WriteTimeout: timeout})
	witness := dial(t, path)
	listsWithin(t, witness)
	// The first thousand leave the runtime with room for as many goroutines,
	// which it keeps.
	for _, c := range thousand(t, path, witness) {
		c.Close()
	}
	waitFor(t, "goroutines end", func() bool { return runtime.NumGoroutine() < 20 })
	before := measure(t)

	conns := thousand(t, path, witness)
	misbehave(t, k, conns[:30])
	listsWithin(t, witness)
	for _, c := range conns[:30] {
		waitFor(t, "the agent closes on a client with bad manners", func() bool { return closed(c) })
		listsWithin(t, witness)
	}
	listsWithin(t, conns[999]) // an idle connection may idle for ever

	vanishing := conns[100:150]
	for _, c := range vanishing {
		send(t, c, signMessage(k.remote.PublicKey().Marshal(), nil))
		<-k.asked
		listsWithin(t, witness)
		c.Close()
	}
	for range vanishing {
		select {
		case <-k.withdrawn:
		case <-time.After(patience):
			t.Fatal("a request waits on though its client has gone")
		}
	}
	for _, c := range conns {
		c.Close()
	}
	var after resources
	if !settles(func() bool {
		after = measure(t)
		return after.goroutines <= before.goroutines && after.descriptors <= before.descriptors &&
			after.heap <= before.heap+256<<10
	}) {
		t.Errorf("resources are not given back: %+v, were %+v", after, before)
	}
	listsWithin(t, witness)
}

func thousand(t *testing.T, path string, witness net.Conn) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, 1000)
	for i := range conns {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c
	}
	for i, c := range conns {
		listsWithin(t, c)
		if i%100 == 0 {
			listsWithin(t, witness)
		}
	}
	return conns
}

// misbehave lets a third of the clients never read, a third send a byte now and
// then, and a third announce a large message and go silent.
func misbehave(t *testing.T, k *keys, conns []net.Conn) {
	t.Helper()
	n := len(conns) / 3
	flood := strings.Repeat(string(signMessage(k.local.PublicKey().Marshal(), nil)), 1000)
	for _, c := range conns[:n] {
		go func() {
			for {
				if _, err := c.Write([]byte(flood)); err != nil {
					return
				}
			}
		}()
	}
	for _, c := range conns[n : 2*n] {
		go func() {
			frame := signMessage(k.local.PublicKey().Marshal(), make([]byte, 1000))
			slow := time.NewTicker(10 * time.Millisecond)
			defer slow.Stop()
			for _, b := range frame {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				<-slow.C
			}
		}()
	}
	for _, c := range conns[2*n:] {
		send(t, c, []byte{0, 3, 0xff, 0xff, msgSignRequest})
	}
}

// closed tells whether the other end has closed, and reads nothing.
func closed(c net.Conn) (is bool) {
	_ = control(c, func(fd int) error { is = hungUp(fd); return nil })
	return is
}

// Without descriptors for new clients, those that are connected are served on,
// and new ones as soon as others go.
func TestNoDescriptors(t *testing.T) {
	path := socketPath(t)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), childSocket+"="+path)
	child.Stderr = os.Stderr
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGKILL) }
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	starve(t, path, fmt.Sprint(child.Process.Pid))
	stdin.Close() // tells the child to end
	if err := child.Wait(); err != nil {
		t.Errorf("the child: %v", err)
	}
}

func starve(t *testing.T, path, pid string) {
	witness := dial(t, path)
	listsWithin(t, witness)
	before := 0
	if runtime.GOOS == "linux" {
		before = descriptors(t, pid)
	}
	conns := make([]net.Conn, 3*starvedLimit)
	for i := range conns {
		conns[i] = dial(t, path)
		listsWithin(t, witness)
	}
	last := conns[len(conns)-1]
	send(t, last, message(msgRequestIdentities))
	if answer, err := readFrame(last, 100*time.Millisecond); err == nil {
		t.Fatalf("there were descriptors left: %x", answer)
	}
	for _, c := range conns[:len(conns)-1] {
		c.Close()
		listsWithin(t, witness)
	}
	if answer := receive(t, last); answer[0] != msgIdentitiesAnswer {
		t.Errorf("answer %x", answer)
	}
	last.Close()
	if runtime.GOOS == "linux" {
		waitFor(t, "descriptors are given back", func() bool { return descriptors(t, pid) <= before })
	}
	listsWithin(t, dial(t, path))
}

// serveStarved is the child process: it serves with few descriptors until its
// standard input ends.
func serveStarved(path string) int {
	limit := syscall.Rlimit{Cur: starvedLimit, Max: starvedLimit}
	l, err := Listen(path)
	if err == nil {
		err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		os.Stdin.Read(make([]byte, 1))
		cancel()
	}()
	fmt.Println("ready")
	if err := New(Config{Backend: noKeys{}, MaxConnections: 1 << 20}).Serve(ctx, l); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

type noKeys struct{}

func (noKeys) Listing(context.Context, Connection) *Listing { return emptyListing }
func (noKeys) SignLocal(_ Connection, _, _ []byte, _ uint32) ([]byte, bool, error) {
	return nil, false, nil
}
func (noKeys) Sign(context.Context, SignRequest) ([]byte, error) { return nil, os.ErrNotExist }
func (noKeys) RemoveAll()                                        {}
func (noKeys) Remove([]byte) bool                                { return false }
