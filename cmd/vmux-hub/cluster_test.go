package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vmux/internal/device"
	"vmux/internal/link/relay"
	"vmux/internal/testkit"
)

// process runs a program until the test ends, and returns what the first line of
// its log that matches has in its first group.
func process(t *testing.T, match string, program string, args ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer late.Stop()
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines, wanted := bufio.NewScanner(stderr), regexp.MustCompile(match)
	log := ""
	for lines.Scan() {
		log += lines.Text() + "\n"
		if m := wanted.FindStringSubmatch(lines.Text()); m != nil {
			go io.Copy(io.Discard, stderr) // ends with the process
			return cmd, m[1]
		}
	}
	t.Fatalf("%s has ended:\n%s", program, log)
	return nil, ""
}

// Hubs that are processes of their own, on a NATS server that is another, are one
// hub to the devices: also after one of them was killed.
func TestCluster(t *testing.T) {
	dir := t.TempDir()
	if err := testkit.Build(dir, nil, "github.com/nats-io/nats-server/v2", "vmux/cmd/vmux-hub"); err != nil {
		t.Fatal(err)
	}
	nats, program := filepath.Join(dir, "nats-server"), filepath.Join(dir, "vmux-hub")
	_, address := process(t, `Listening for client connections on (\S+)`, nats, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", t.TempDir())
	start := func() (*exec.Cmd, string) {
		return process(t, `hub is ready.* url=(\S+)`, program, "--listen", "127.0.0.1:0", "--nats", "nats://"+address)
	}
	one, oneURL := start()
	other, otherURL := start()

	agent, phone := newKey(t), newKey(t)
	echo(t, otherURL, phone, agent.ID())
	ask(t, oneURL, agent, phone.ID())

	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, thirdURL := start()
	echo(t, thirdURL, phone, agent.ID()) // its newest connection counts, though nobody has said that the old one is gone
	ask(t, oneURL, agent, phone.ID())

	if err := one.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if state, err := one.Process.Wait(); err != nil || state.ExitCode() != 0 {
		t.Errorf("the hub ended with %v, %v", state, err)
	}
}

func newKey(t *testing.T) *device.Key {
	t.Helper()
	key, err := device.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// connect keeps a device at a hub until end.
func connect(t *testing.T, url string, key *device.Key, allow device.ID) (c *relay.Client, end func()) {
	t.Helper()
	c, err := relay.New(relay.Config{URL: url, Key: key, Allow: func() []device.ID { return []device.ID{allow} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { c.Run(ctx) })
	return c, func() { cancel(); run.Wait() }
}

// echo is a device that sends back what it is sent.
func echo(t *testing.T, url string, key *device.Key, allow device.ID) {
	t.Helper()
	c, end := connect(t, url, key, allow)
	l := c.Listener()
	t.Cleanup(func() { l.Close(); end() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); io.Copy(conn, conn) }()
		}
	}()
}

var errEchoed = errors.New("it was echoed")

// ask sends something to a device by way of the hub, and has it sent back.
func ask(t *testing.T, url string, key *device.Key, to device.ID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, end := connect(t, url, key, to)
	defer end()
	found := make(chan struct{}, 1)
	go c.Find(ctx, func(device.ID) {
		select {
		case found <- struct{}{}:
		default:
		}
	})
	exchange := func(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		const text = "over two hubs"
		if _, err := io.WriteString(conn, text); err != nil {
			return nil, err
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
			return nil, errors.Join(err, errors.New("got "+string(got)))
		}
		return nil, errEchoed
	}
	var err error
	for range 20 { // the device may be on its way from one hub to another
		select {
		case <-found:
		case <-ctx.Done():
			t.Fatalf("the device is not seen; last %v", err)
		}
		if _, _, err = c.Dial(ctx, device.Peer{ID: to}, exchange); errors.Is(err, errEchoed) {
			return
		}
	}
	t.Fatal(strings.TrimSpace(err.Error()))
}
