package test

import (
	"strings"
	"testing"
)

// Either side can end a pairing, and the other is told.
func TestUnpairing(t *testing.T) {
	t.Parallel()
	t.Run("on the phone", func(t *testing.T) {
		w := newWorld(t, "ecdsa-sha2-nistp256")
		w.phone.run("phone", "unpair", deviceOf(t, w.phone.run("phone", "devices", "--json")))
		w.waitStatus("no longer paired")
	})
	t.Run("on the computer", func(t *testing.T) {
		w := newWorld(t, "ecdsa-sha2-nistp256")
		w.computer.run("unpair", deviceOf(t, w.computer.run("devices", "--json")))
		w.waitStatus("Phone not connected")
		waitFor(t, "no keys of the phone's", func() bool {
			return !strings.Contains(w.computer.run("status", "--json"), "SHA256:")
		})
		waitFor(t, "the phone to learn of it", func() bool {
			return strings.Contains(w.phoneRun.log(), "has ended the pairing")
		})
	})
}
