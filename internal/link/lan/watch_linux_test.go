package lan

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The system tells of an address that comes and of one that goes, and nobody looks
// before: the way of a laptop from one network to another.
func TestWatchIsTold(t *testing.T) {
	if os.Getenv(insideEnv) == "" {
		c := exec.Command("unshare", "--user", "--map-root-user", "--net", os.Args[0], "-test.run=^TestWatchIsTold$", "-test.v")
		c.Env = append(os.Environ(), insideEnv+"=1")
		if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("in a network of its own: %v\n%s", err, out)
		}
		return
	}
	ip := func(args ...string) {
		t.Helper()
		c := exec.Command("ip", args...)
		c.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, out)
		}
	}
	ip("link", "add", "lan", "type", "veth", "peer", "name", "to-lan")
	ip("link", "set", "lan", "up")
	ctx, cancel := context.WithCancel(t.Context())
	begun, changed, ended := make(chan struct{}), make(chan struct{}, 10), make(chan struct{})
	go func() {
		defer close(ended)
		var s seen
		onChanges(ctx, func() bool {
			if known := s.known; s.differ(net.InterfaceAddrs()) {
				changed <- struct{}{}
			} else if !known {
				close(begun)
			}
			return false
		})
	}()
	<-begun
	for _, does := range []string{"add", "del", "add"} {
		ip("address", does, "192.168.1.7/24", "dev", "lan")
		select {
		case <-changed:
		case <-time.After(lookWithout - time.Second):
			t.Errorf("not told: address %s", does)
		}
	}
	cancel()
	<-ended
}
