package hub

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"

	"vmux/internal/filelock"
)

const (
	maxStored  = 256 << 20 // bytes on disk
	natsFolder = "nats"
	lockFile   = "lock"
	keyFile    = "vapid.json"
)

// ErrStateInUse is returned by New when another hub uses the state folder.
var ErrStateInUse = errors.New("another hub uses this state folder")

// ownServer is a NATS server for this hub alone. It can be started anew, to which
// the hub's connection then returns.
type ownServer struct {
	dir string
	log *slog.Logger

	complaint atomic.Pointer[func()]

	mu sync.Mutex
	ns *server.Server // nil: the last start failed
}

// complained has f called when NATS logs an error. It must not block.
func (o *ownServer) complained(f func()) { o.complaint.Store(&f) }

// startServer starts a server for this hub alone.
func (b *bus) startServer(dir string, log *slog.Logger) (err error) {
	// Two NATS servers would ruin what is stored.
	if b.lock, err = filelock.TryLock(filepath.Join(dir, lockFile)); errors.Is(err, filelock.ErrHeld) {
		err = ErrStateInUse
	}
	if err != nil {
		return err
	}
	b.server = &ownServer{dir: dir, log: log}
	if err := b.server.restart(); err != nil {
		_ = b.lock.Close()
		return err
	}
	b.alone = true
	return nil
}

// InProcessConn implements nats.InProcessConnProvider.
func (o *ownServer) InProcessConn() (net.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ns == nil {
		return nil, errors.New("NATS has not started")
	}
	return o.ns.InProcessConn()
}

// storing reports whether the server's store is there.
func (o *ownServer) storing() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ns != nil && o.ns.JetStreamEnabled()
}

// restart ends the server, with all that it still does to its files, and starts
// another.
func (o *ownServer) restart() (err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end()
	o.ns, err = o.start()
	return err
}

// end ends the server. o.mu is held.
func (o *ownServer) end() {
	if o.ns != nil {
		o.ns.Shutdown()
		o.ns.WaitForShutdown()
		o.ns = nil
	}
}

func (o *ownServer) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end()
}

// start starts NATS in this process: no port, no signals, JetStream on
// disk, each write waited for.
func (o *ownServer) start() (*server.Server, error) {
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
	if !ns.ReadyForConnections(busStartTime) || !ns.JetStreamEnabled() {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, errors.New("start NATS: it did not start; the log says more")
	}
	return ns, nil
}

func (b *bus) closeServer() {
	if b.server != nil {
		b.server.close()
		_ = b.lock.Close()
	}
}

// serverLog passes on what the NATS server complains of.
type serverLog struct{ server *ownServer }

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
