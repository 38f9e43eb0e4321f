package pairpage

import (
	"strings"
	"testing"
)

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
