package lan

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vmux/internal/device"
	"vmux/internal/testkit"
)

// oneCard is a machine with one network.
const oneCard = `set -e
PATH=$PATH:/usr/sbin:/sbin
ip link add lan type veth peer name to-lan; ip link set to-lan up; ip address add 192.168.1.7/24 dev lan; ip link set lan up
`

// A phone is found by a computer whose kernel has no IPv6 (ipv6.disable=1), where the library
// looked nowhere (vishen/go-chromecast#176, grandcat/zeroconf#3).
func TestFoundWithoutIPv6(t *testing.T) {
	if !inNetwork(t, oneCard) {
		return
	}
	if err := dropIPv6(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	id, told := device.ID{7}, make(chan error, 1)
	go func() { told <- Advertise(ctx, id, "phone", 4321, nil) }()
	found := false
	browse(ctx, slog.New(slog.DiscardHandler), func(e Entry) {
		if e.ID == id && slices.Contains(e.Addresses, "192.168.1.7:4321") {
			found = true
			cancel()
		}
	})
	<-told
	if !found {
		t.Error("not found")
	}
}

// manyBridges is a machine whose LAN comes after more networks of containers than a socket may
// join on.
const manyBridges = `set -e
PATH=$PATH:/usr/sbin:/sbin
for i in $(seq 25); do
  ip link add br-$i type bridge; ip address add 172.20.$i.1/24 dev br-$i; ip link set br-$i up
done
ip link add lan type veth peer name to-lan; ip link set to-lan up; ip address add 192.168.1.7/24 dev lan; ip link set lan up
ip route add default via 192.168.1.1
`

// The LAN is listened at, however many networks of containers a machine has (home-assistant/core#36733,
// python-zeroconf/python-zeroconf#1510).
func TestListensAtTheLAN(t *testing.T) {
	if !inNetwork(t, manyBridges) {
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); browse(ctx, slog.New(slog.DiscardHandler), func(Entry) {}) }()
	defer func() { cancel(); <-done }()
	testkit.WaitFor(t, "the LAN's card to join", func() bool {
		b, err := os.ReadFile("/proc/self/net/igmp")
		if err != nil {
			t.Fatal(err)
		}
		device := ""
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); line[0] != '\t' && len(f) > 1 {
				device = f[1]
			} else if device == "lan" && f[0] == "FB0000E0" { // 224.0.0.251
				return true
			}
		}
		return false
	})
}

// inNetwork runs a test in a network of its own, and reports whether this is it.
func inNetwork(t *testing.T, made string) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		return true
	}
	c := exec.Command("unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c",
		"mount -t sysfs sysfs /sys && "+made+`exec "$0" -test.run='^`+t.Name()+`$' -test.v`, os.Args[0])
	c.Env = append(os.Environ(), insideEnv+"=1")
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("in a network of its own: %v\n%s", err, out)
	}
	return false
}

// dropIPv6 has this process, and all that it starts, refused sockets of IPv6, as by a kernel
// without it (seccomp(2)).
func dropIPv6() error {
	const set, allThreads = 1, 1 // SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	unless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	end := func(how uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: how} }
	program := []unix.SockFilter{
		load(0), unless(unix.SYS_SOCKET, 3), load(16), unless(unix.AF_INET6, 1),
		end(0x00050000 | uint32(syscall.EAFNOSUPPORT)), end(0x7fff0000), // SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, set, allThreads, uintptr(unsafe.Pointer(&filter))); errno != 0 {
		return errno
	}
	return nil
}
