package client

import (
	"strings"
	"testing"
)

// KERN_PROCARGS2 as macOS gives it: the arguments are words, and nothing of the
// environment is taken for one.
func TestParseProcArgs(t *testing.T) {
	block := "\x03\x00\x00\x00/usr/bin/ssh\x00\x00\x00\x00ssh\x00-v\x00prod\x00HOME=/Users/u\x00A=b\x00"
	arguments, environment, ok := parseProcArgs([]byte(block))
	if !ok || strings.Join(arguments, " ") != "ssh -v prod" || strings.Join(environment, " ") != "HOME=/Users/u A=b " {
		t.Errorf("%q, %q, %v", arguments, environment, ok)
	}
	for _, bad := range []string{"", "\x01\x00", "\xff\xff\xff\xff/x\x00x\x00", "\x09\x00\x00\x00/x\x00x\x00", "\x01\x00\x00\x00x"} {
		if _, _, ok := parseProcArgs([]byte(bad)); ok {
			t.Errorf("%q was read", bad)
		}
	}
}
