//go:build !linux

package tcp

import "syscall"

// limit does nothing: macOS and Windows find by themselves that a path drops long
// packets (net.inet.tcp.pmtud_blackhole_detection, EnablePMTUBHDetect), and take
// no size for a socket that is not connected yet.
func limit(syscall.RawConn, int) error { return nil }
