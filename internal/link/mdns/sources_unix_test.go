//go:build !darwin && !windows

package mdns

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// answering is a program at a socket that answers each question up to end.
func answering(t *testing.T, end byte, answer func(question string) string) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				question, err := bufio.NewReader(c).ReadString(end)
				if err == nil {
					fmt.Fprint(c, answer(question))
				}
			})
		}
	})
	return socket
}

func told(t *testing.T, s source) string {
	t.Helper()
	var mu sync.Mutex
	var list []string
	s(t.Context(), "laptop.local", func(a answer) {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, a.ip.String())
	})
	return strings.Join(list, " ")
}

// These lines were seen from avahi-daemon 0.8.
func TestAvahi(t *testing.T) {
	lo, err := net.InterfaceByIndex(1)
	if err != nil {
		t.Fatal(err)
	}
	was := avahiSocket
	t.Cleanup(func() { avahiSocket = was })
	for line4, want := range map[string]string{
		"+ 2 0 laptop.local 192.0.2.2\n": "192.0.2.2", "-15 Timeout reached\n": "", "\n": "", "+ 2\n": "", "+ 2 0 laptop.local x\n": "", "": "",
	} {
		avahiSocket = answering(t, '\n', func(q string) string {
			if q == "RESOLVE-HOSTNAME-IPV4 laptop.local\n" {
				return line4
			}
			return "-15 Timeout reached\n"
		})
		if got := told(t, askAvahi); got != want {
			t.Errorf("%q: %q, want %q", line4, got, want)
		}
	}
	avahiSocket = answering(t, '\n', func(q string) string {
		if q == "RESOLVE-HOSTNAME-IPV6 laptop.local\n" {
			return "+ 1 1 laptop.local fe80::2\n"
		}
		return "-15 Timeout reached\n"
	})
	if got := told(t, askAvahi); got != "fe80::2%"+lo.Name {
		t.Error(got)
	}
	avahiSocket = filepath.Join(t.TempDir(), "none")
	if got := told(t, askAvahi); got != "" {
		t.Error(got)
	}
}

// Written by systemd's description of io.systemd.Resolve; no such program was tried.
func TestResolved(t *testing.T) {
	lo, err := net.InterfaceByIndex(1)
	if err != nil {
		t.Fatal(err)
	}
	was := resolvedSocket
	t.Cleanup(func() { resolvedSocket = was })
	for reply, want := range map[string]string{
		`{"parameters":{"addresses":[{"ifindex":1,"family":10,"address":[254,128,0,0,0,0,0,0,0,0,0,0,0,0,0,2]},` +
			`{"ifindex":2,"family":2,"address":[192,0,2,2]}],"name":"laptop.local","flags":8}}` + "\x00": "fe80::2%" + lo.Name + " 192.0.2.2",
		`{"error":"io.systemd.Resolve.NoNameServers","parameters":{}}` + "\x00":    "",
		`{"parameters":{"addresses":[{"family":2,"address":[192,0,2]}]}}` + "\x00": "",
		"nonsense\x00": "", `{"parameters":`: "",
	} {
		resolvedSocket = answering(t, 0, func(q string) string {
			if q != `{"method":"io.systemd.Resolve.ResolveHostname","parameters":{"flags":24,"name":"laptop.local"}}`+"\x00" {
				t.Errorf("asked %q", q)
			}
			return reply
		})
		if got := told(t, askResolved); got != want {
			t.Errorf("%q: %q, want %q", reply, got, want)
		}
	}
}
