package store

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"vmux/internal/filelock"
)

const (
	maxStored  = 256 << 20 // bytes on disk
	natsFolder = "nats"
	lockFile   = "lock"
	startTime  = 15 * time.Second
)

// ErrInUse is returned by StartServer when another hub uses the folder.
var ErrInUse = errors.New("another hub uses this state folder")

// Server is a NATS server for one hub alone, in its process. It can be started anew,
// to which the hub's connection then returns. It is a nats.InProcessConnProvider.
type Server struct {
	dir  string
	log  *slog.Logger
	lock *os.File // of dir

	complaint atomic.Pointer[func()]

	mu sync.Mutex
	ns *server.Server // nil: the last start failed
}

// StartServer starts a server that keeps its files in dir, until Close.
func StartServer(dir string, log *slog.Logger) (*Server, error) {
	// Two NATS servers would ruin what is stored.
	lock, err := filelock.TryLock(filepath.Join(dir, lockFile))
	if errors.Is(err, filelock.ErrHeld) {
		err = ErrInUse
	}
	if err != nil {
		return nil, err
	}
	o := &Server{dir: dir, log: log, lock: lock}
	if err := o.restart(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return o, nil
}

// InProcessConn implements nats.InProcessConnProvider.
func (o *Server) InProcessConn() (net.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ns == nil {
		return nil, errors.New("NATS has not started")
	}
	return o.ns.InProcessConn()
}

// storing reports whether the server's store is there.
func (o *Server) storing() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ns != nil && o.ns.JetStreamEnabled()
}

// restart ends the server, with all that it still does to its files, and starts
// another.
func (o *Server) restart() (err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end()
	o.ns, err = o.start()
	return err
}

// end ends the server. o.mu is held.
func (o *Server) end() {
	if o.ns != nil {
		o.ns.Shutdown()
		o.ns.WaitForShutdown()
		o.ns = nil
	}
}

// Close ends the server.
func (o *Server) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end()
	_ = o.lock.Close()
}

// start starts NATS in this process: no port, no signals, JetStream on
// disk, each write waited for.
func (o *Server) start() (*server.Server, error) {
	ns, err := server.NewServer(&server.Options{
		ServerName: "vmux-hub", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: filepath.Join(o.dir, natsFolder), SyncAlways: true,
		JetStreamMaxMemory: 1 << 20, JetStreamMaxStore: maxStored,
		MaxPayload: server.MAX_PAYLOAD_SIZE,
	})
	if err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	ns.SetLogger(serverLog{o}, false, false)
	ns.Start()
	if !ns.ReadyForConnections(startTime) || !ns.JetStreamEnabled() {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, errors.New("start NATS: it did not start; the log says more")
	}
	return ns, nil
}

// serverLog passes on what the NATS server complains of.
type serverLog struct{ server *Server }

func (l serverLog) Noticef(string, ...any) {}
func (l serverLog) Debugf(string, ...any)  {}
func (l serverLog) Tracef(string, ...any)  {}

func (l serverLog) Warnf(format string, v ...any) {
	l.server.log.Warn("NATS", "reason", fmt.Sprintf(format, v...))
}

func (l serverLog) Errorf(format string, v ...any) {
	l.server.log.Error("NATS", "reason", fmt.Sprintf(format, v...))
	if f := l.server.complaint.Load(); f != nil {
		(*f)()
	}
}

func (l serverLog) Fatalf(format string, v ...any) { l.Errorf(format, v...) }
