package hub

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	maxStored  = 256 << 20 // bytes on disk
	natsFolder = "nats"
	lockFile   = "lock"
)

// ErrStateInUse is returned by New when another hub uses the state folder.
var ErrStateInUse = errors.New("another hub uses this state folder")

// startServer starts a server for this hub alone.
func (b *bus) startServer(dir string, log *slog.Logger) (err error) {
	if b.lock, err = lockState(filepath.Join(dir, lockFile)); err != nil {
		return err
	}
	if b.server, err = newServer(dir, log); err != nil {
		_ = b.lock.Close()
		return err
	}
	b.alone = true
	return nil
}

// newServer starts NATS in this process: no port, no signals, JetStream on
// disk, each write waited for.
func newServer(dir string, log *slog.Logger) (*server.Server, error) {
	ns, err := server.NewServer(&server.Options{
		ServerName: "vmux-hub", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: filepath.Join(dir, natsFolder), SyncAlways: true,
		JetStreamMaxMemory: 1 << 20, JetStreamMaxStore: maxStored,
		MaxPayload: server.MAX_PAYLOAD_SIZE,
	})
	if err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	ns.SetLogger(serverLog{log}, false, false)
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
		b.server.Shutdown()
		b.server.WaitForShutdown()
		_ = b.lock.Close()
	}
}

// serverLog passes on what the NATS server complains of.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(string, ...any) {}
func (l serverLog) Debugf(string, ...any)  {}
func (l serverLog) Tracef(string, ...any)  {}

func (l serverLog) Warnf(format string, v ...any) {
	l.log.Warn("NATS", "reason", fmt.Sprintf(format, v...))
}

func (l serverLog) Errorf(format string, v ...any) {
	l.log.Error("NATS", "reason", fmt.Sprintf(format, v...))
}

func (l serverLog) Fatalf(format string, v ...any) { l.Errorf(format, v...) }
