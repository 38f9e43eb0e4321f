package front

import (
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// full is a listener of a process that may open no more files.
type full struct {
	net.Listener
	tried chan struct{}
}

func (l full) Accept() (net.Conn, error) {
	select {
	case l.tried <- struct{}{}:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	default:
		return nil, net.ErrClosed
	}
}

// A hub that can take no connections says so to who runs it (webdav 128), once and not at
// each try; what anybody can cause does not fill the log.
func TestHubWithoutOpenFilesSaysSo(t *testing.T) {
	log, text := logger(t)
	f, err := Open(Config{Listen: "127.0.0.1:0", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	server := f.server(http.NotFoundHandler())
	_ = server.Serve(full{Listener: f.listener, tried: make(chan struct{}, 3)})
	server.ErrorLog.Print("http: TLS handshake error from 192.0.2.7:4711: EOF")
	if got := text(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "too many open files") || !strings.Contains(got, "LimitNOFILE") {
		t.Errorf("log: %s", got)
	}
}
