package pairpage

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// nobody is a user who owns nothing.
const nobody = 65534

// Another user has read the page's address in the list of processes, and is first there: he
// is refused, and the page is still there for its owner. Only root can be another user; for
// others the owner's own connection is what there is to try.
func TestAnotherUserIsRefused(t *testing.T) {
	s := show(t, nil)
	curl := exec.Command("curl", "--silent", s.url)
	want := "secret"
	if os.Getuid() == 0 {
		curl.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		want = "not for you"
	}
	out, err := curl.Output()
	if err != nil {
		t.Fatalf("curl: %v: run `make setup`", err)
	}
	if !strings.Contains(string(out), want) || os.Getuid() == 0 && strings.Contains(string(out), "secret") {
		t.Errorf("the page answers %q", out)
	}
	close(s.agent.paired)
	if err := <-s.result; err != nil {
		t.Error(err)
	}
}

// The kernel's list, as Linux 6.1 writes it: what another user has connected is his.
func TestUserOf(t *testing.T) {
	const list = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 100 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 101 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000 65534        0 102 1 0000000000000000 20 4 30 10 -1
`
	for _, test := range []struct{ from, to, want string }{
		{"127.0.0.1:50000", "127.0.0.1:8080", "65534"},
		{"127.0.0.1:8080", "127.0.0.1:50000", "1000"},
		{"127.0.0.1:50001", "127.0.0.1:8080", ""},
		{"[::1]:50000", "127.0.0.1:8080", ""},
		{"", "", ""},
	} {
		if got := userOf(strings.NewReader(list), test.from, test.to); got != test.want {
			t.Errorf("%s to %s: user %q, want %q", test.from, test.to, got, test.want)
		}
	}
}
