package testkit

import "net"

// FreeAddress returns an address that nobody listened on a moment ago.
func FreeAddress(t TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	defer l.Close()
	return l.Addr().String()
}

// FreePort is the port of one.
func FreePort(t TB) string {
	_, port, _ := net.SplitHostPort(FreeAddress(t))
	return port
}
