//go:build linux

package test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	sshclient "golang.org/x/crypto/ssh/agent"
)

const (
	// listWithin is what the list may take, whatever other clients do: little beside
	// what a request waits for a person, and much for a busy machine.
	listWithin = 10 * time.Second
	crowd      = 1000

	// Of the SSH agent protocol (RFC 9987).
	msgRequestIdentities = 11
	msgSignRequest       = 13
)

// prober asks for the list all the time, until stopped, and notes the slowest.
// Meanwhile a byte goes through cat and back: what that takes at the worst is
// the machine's own doing, while many tests run at once.
type prober struct {
	t       testing.TB
	stop    chan struct{}
	done    chan struct{}
	count   atomic.Int32
	slowest time.Duration
	err     error
	cat     *prober
}

// probe lists over and over by ask.
func probe(t testing.TB, ask func() error) *prober {
	t.Helper()
	p := repeat(t, ask)
	p.cat = repeat(t, throughCat(t))
	return p
}

// throughCat sends a byte to another process and waits until it is back.
func throughCat(t testing.TB) func() error {
	t.Helper()
	cat := exec.Command("cat")
	to, err := cat.StdinPipe()
	from, err2 := cat.StdoutPipe()
	if err := errors.Join(err, err2, cat.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close(); _ = cat.Wait() })
	b := []byte("x")
	return func() error {
		_, err := to.Write(b)
		_, err2 := io.ReadFull(from, b)
		return errors.Join(err, err2)
	}
}

func repeat(t testing.TB, ask func() error) *prober {
	p := &prober{t: t, stop: make(chan struct{}), done: make(chan struct{})}
	pause := time.NewTicker(10 * time.Millisecond)
	go func() {
		defer close(p.done)
		defer pause.Stop()
		for p.err == nil {
			select {
			case <-p.stop:
				return
			case <-pause.C:
			}
			began := time.Now()
			p.err = ask()
			p.count.Add(1)
			p.slowest = max(p.slowest, time.Since(began))
		}
	}()
	return p
}

// sshClient is an SSH client that stays connected. What it asks fails in the end
// if the agent does not answer.
type sshClient struct {
	sshclient.ExtendedAgent
	net.Conn
}

func (w *world) connect() (sshClient, error) {
	conn, err := net.DialTimeout("unix", w.computer.socket(), patience)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(3 * patience))
	}
	return sshClient{sshclient.NewClient(conn), conn}, err
}

func (w *world) mustConnect() sshClient {
	w.Helper()
	c, err := w.connect()
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { c.Conn.Close() })
	return c
}

func (c sshClient) lists() error {
	keys, err := c.List()
	if err == nil && len(keys) == 0 {
		err = errors.New("the list is empty")
	}
	return err
}

// listsAnew is what ssh-add -l does.
func (w *world) listsAnew() error {
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Conn.Close()
	return c.lists()
}

// end stops asking and judges.
func (p *prober) end() {
	p.t.Helper()
	for _, each := range []*prober{p, p.cat} {
		close(each.stop)
		<-each.done
	}
	if p.err != nil || p.cat.err != nil || p.slowest > listWithin+p.cat.slowest || p.count.Load() == 0 {
		p.t.Errorf("%d lists, the slowest after %v, a byte through cat after %v: %v, %v", p.count.Load(), p.slowest, p.cat.slowest, p.err, p.cat.err)
	}
	p.t.Logf("%d lists, the slowest after %v, a byte through cat after %v", p.count.Load(), p.slowest, p.cat.slowest)
}

// usage is what a process has of the machine.
type usage struct {
	descriptors int
	resident    int // bytes
}

func (d *daemon) usage() usage {
	d.t.Helper()
	proc := fmt.Sprintf("/proc/%d", d.cmd.Process.Pid)
	entries, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil && os.Getuid() == 0 { // who is not root may not look there
		d.t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(proc, "statm")) // proc_pid_statm(5), in pages
	if err != nil {
		d.t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		d.t.Fatal(err)
	}
	return usage{len(entries), pages * os.Getpagesize()}
}

// goroutines ends the process by a signal that makes it list them, and counts
// those that run the program's own code.
func (d *daemon) goroutines() int {
	d.t.Helper()
	_ = d.cmd.Process.Signal(syscall.SIGQUIT)
	<-d.exited
	n := 0
	for g := range strings.SplitSeq(d.log(), "\n\n") {
		if strings.HasPrefix(g, "goroutine ") && strings.Contains(g, "vmux/internal/") {
			n++
		}
	}
	return n
}

func frame(message ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
}

// signFrame asks for a signature by the key.
func signFrame(blob, data []byte) []byte {
	message := []byte{msgSignRequest}
	for _, s := range [][]byte{blob, data} {
		message = append(binary.BigEndian.AppendUint32(message, uint32(len(s))), s...)
	}
	return frame(append(message, 0, 0, 0, 0)...)
}

// crowds opens connections that say nothing.
func (w *world) crowds(n int) (leave func()) {
	w.Helper()
	var all []net.Conn
	for range n {
		c, err := net.DialTimeout("unix", w.computer.socket(), patience)
		if err != nil {
			w.Fatal(err)
		}
		all = append(all, c)
	}
	return func() {
		for _, c := range all {
			c.Close()
		}
	}
}

// neverReads asks for the list as long as the agent takes it, and reads no
// answer. It returns when the agent has closed the connection.
func (w *world) neverReads() error {
	c := w.client()
	defer c.Close()
	ask := frame(msgRequestIdentities)
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for {
		if _, err := c.Write(ask); err != nil {
			return closed("the client that never reads", err)
		}
	}
}

// drips sends a byte of a long message each second.
func (w *world) drips() error {
	c := w.client()
	defer c.Close()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	message := frame(make([]byte, 1000)...)
	for _, b := range message[:int(patience/time.Second)] {
		if _, err := c.Write([]byte{b}); err != nil {
			return closed("the client that sends a byte a second", err)
		}
		<-second.C
	}
	return errors.New("the client that sends a byte a second is still served")
}

// closed tells the agent's closing of a connection from anything else.
func closed(who string, err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return fmt.Errorf("%s: %w", who, err)
}

// vanish asks for a signature and goes away when the phone shows the sheet,
// which is gone from the phone at once and not when its window ends.
func (w *world) vanish(person *screen, key []byte) {
	w.Helper()
	before, gone := person.count("Sign?"), person.count("Withdrawn:")
	c := w.client()
	if _, err := c.Write(signFrame(key, []byte("data"))); err != nil {
		w.Fatal(err)
	}
	waitFor(w, "the sheet", func() bool { return person.count("Sign?") > before })
	c.Close()
	began := time.Now()
	person.waitCount("Withdrawn:", gone+1, "")
	if took := time.Since(began); took > listWithin {
		w.Errorf("the request was withdrawn after %v", took)
	}
}

// hostilities are clients that mean no good, all at once.
func (w *world) hostilities(person *screen, key []byte, slow ...func() error) {
	w.Helper()
	client := w.mustConnect()
	fresh, standing := probe(w, w.listsAnew), probe(w, client.lists)
	leave := w.crowds(crowd)
	var clients sync.WaitGroup
	errs := make(chan error, len(slow))
	for _, f := range slow {
		clients.Go(func() { errs <- f() })
	}
	for range 3 {
		w.vanish(person, key)
	}
	clients.Wait()
	for range slow {
		if err := <-errs; err != nil {
			w.Error(err)
		}
	}
	fresh.end()
	standing.end()
	client.Conn.Close()
	leave()
}

// attacker: programs of the same user that connect a thousand times, never read,
// send a byte a second, or vanish while the phone is asked. The list answers
// within a second throughout, and nothing of them stays.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t, "--lan=false")
	key := w.identity("ssh-ed25519").key(t).Marshal()
	before := w.agent.usage()
	w.hostilities(person, key, w.neverReads, w.drips)
	waitFor(t, "the descriptors to be given back", func() bool { return w.agent.usage().descriptors <= before.descriptors })
	once := w.agent.usage()
	w.hostilities(person, key)
	waitFor(t, "the descriptors to be given back again", func() bool { return w.agent.usage().descriptors <= before.descriptors })
	// What a first crowd took may stay in reserve; a second one takes no more.
	const slack = 8 << 20
	waitFor(t, "the memory to be what it was", func() bool { return w.agent.usage().resident <= once.resident+slack })
	t.Logf("before %+v, after one crowd %+v, after two %+v", before, once, w.agent.usage())

	idle, _ := askingWorld(t, "--lan=false")
	n, want := w.agent.goroutines(), idle.agent.goroutines()
	t.Logf("%d goroutines", n)
	if n > want || n == 0 {
		t.Errorf("%d goroutines afterwards; an agent that met nobody has %d", n, want)
	}
}

// The agent has no descriptor left for whoever comes. Those who are there are
// served, and when some have gone, so are the others.
func TestDescriptorsExhausted(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t, "--lan=false")
	key := w.identity("ssh-ed25519").key(t)
	standing := w.mustConnect()
	if err := standing.lists(); err != nil {
		t.Fatal(err)
	}
	before := w.agent.usage()
	few := unix.Rlimit{Cur: uint64(before.descriptors) + 20, Max: uint64(before.descriptors) + 20}
	if err := unix.Prlimit(w.agent.cmd.Process.Pid, unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Fatal(err)
	}
	p := probe(t, standing.lists)
	leave := w.crowds(crowd)
	w.agent.waitLog("too many open files")
	waitFor(t, "a hundred lists", func() bool { return p.count.Load() >= 100 })
	p.end()
	leave()
	waitFor(t, "the descriptors to be given back", func() bool { return w.agent.usage().descriptors <= before.descriptors })
	began := time.Now()
	if err := w.listsAnew(); err != nil || time.Since(began) > listWithin {
		t.Errorf("a new client's list, afterwards: %v after %v", err, time.Since(began))
	}
	signed := w.requests(key, "data")
	person.waitCount("Approved.", 1, "y")
	if err := w.wait(signed); err != nil {
		t.Errorf("a signature afterwards: %v", err)
	}
}

// With few descriptors from the start the agent keeps enough for itself: a crowd
// of clients costs neither the link nor a signature.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("ssh-ed25519", "ssh-ed25519")
	w.startPhone()
	w.computer.descriptors = 64
	w.startAgent("--lan=false")
	w.pair()
	standing := w.mustConnect()
	p := probe(t, standing.lists)
	leave := w.crowds(crowd)
	defer leave()
	w.agent.waitLog("too many connections")
	key := w.identity("ssh-ed25519").key(t)
	signature, err := standing.Sign(key, []byte("data"))
	if err == nil {
		err = key.Verify([]byte("data"), signature)
	}
	if err != nil {
		t.Errorf("a signature: %v", err)
	}
	p.end()
	w.waitConnected()
	if log := w.agent.log(); strings.Contains(log, "phone disconnected") || strings.Contains(log, "too many open files") {
		t.Errorf("the crowd took the agent's own descriptors:\n%s", tail(log, 2000))
	}
}
