package waking

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"vmux/internal/link"
	"vmux/internal/link/relay"
)

// What is said of a phone that the local network does not reach, whatever the
// other addresses and the hub came to.
func TestNotReached(t *testing.T) {
	at := func(why error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4100}, Err: why}
	}
	silent := at(os.ErrDeadlineExceeded)
	refused := at(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	nowhere := at(os.NewSyscallError("connect", syscall.ENETUNREACH))
	other := fmt.Errorf("192.0.2.9:4100: %w", fmt.Errorf("handshake: %w", link.ErrWrongDevice))
	slow := fmt.Errorf("192.0.2.9:4100: %w", fmt.Errorf("handshake: %w", context.DeadlineExceeded))
	away := fmt.Errorf("hub: %w", relay.ErrNotConnected)
	lan := func(errs ...error) error { return fmt.Errorf("lan: %w", errors.Join(errs...)) }
	for _, test := range []struct {
		err       error
		hub       bool
		why, hint string
	}{
		{errors.Join(lan(silent)), false, "no answer at 192.0.2.7:4100", hintFirewall},
		{errors.Join(lan(refused, silent), away), true, "no answer at 192.0.2.7:4100", hintFirewall},
		{errors.Join(lan(slow)), false, "no answer at 192.0.2.9", hintFirewall},
		{errors.Join(lan(refused)), false, "nothing listens at 192.0.2.7:4100", hintNotThere},
		{errors.Join(lan(other, refused)), false, "another device answers at 192.0.2.9", hintMoved},
		{errors.Join(lan(nowhere)), false, "there is no way from here to 192.0.2.7:4100", hintOffline},
		{errors.Join(fmt.Errorf("lan: %w", link.ErrNoRoute)), false, "it is not found on this network", hintNotFound},
		{errors.Join(fmt.Errorf("lan: %w", link.ErrNoRoute), away), true, "", ""}, // the hub's line says it
		{link.ErrPeerClosed, false, "", ""},
		{nil, false, "", ""},
	} {
		why, hint := NotReached(test.err, test.hub)
		if !strings.HasPrefix(why, test.why) || test.why == "" && why != "" || hint != test.hint {
			t.Errorf("%v:\n%q, %q", test.err, why, hint)
		}
	}
}
