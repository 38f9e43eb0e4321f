package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"vmux/internal/hub"
	"vmux/internal/hub/front"
	"vmux/internal/link/hubwire"
)

const (
	hubMessage = 600 // bytes, as many as a request for a signature has
	hubDevices = 10_000
	// addressFile is where a program in another role tells that it is ready.
	addressFile = "address"
	// collectPath is where a hub in this program collects its garbage.
	collectPath = "/bench/collect"
)

// measureHub measures what a hub adds to a message between two devices, and what
// devices that are only there cost it.
func (b *bench) measureHub() {
	b.measureHubMemory()
	b.measureHubTrip()
	b.measureHubDevices()
}

// startRole runs this program in another role and returns its address.
func (b *bench) startRole(role, dir string) (address string, pid int) {
	pid = b.startProcess(ownCommand(role, dir))
	b.must(waitFor(role, func() bool {
		text, err := os.ReadFile(filepath.Join(dir, addressFile))
		address = string(text)
		return err == nil && strings.HasSuffix(address, "\n")
	}))
	return strings.TrimSpace(address), pid
}

func tellAddress(dir, address string) error {
	return os.WriteFile(filepath.Join(dir, addressFile), []byte(address+"\n"), 0o600)
}

// measureHubMemory compares the hub's program, at rest, with a bare NATS server.
func (b *bench) measureHubMemory() {
	var ours, theirs []float64
	for range min(b.rounds, 3) {
		_, bare := b.startRole("nats-server", b.TempDir())
		_, pid := b.startAppHub()
		time.Sleep(2 * time.Second)
		ours = append(ours, b.resident(pid))
		theirs = append(theirs, b.resident(bare))
	}
	b.table.add(row{"idle hub, resident", "bare NATS server", mebibytes, ours, theirs, atMost(1.25)})
}

func (b *bench) resident(pid int) float64 {
	resident, _, err := memory(pid)
	b.must(err)
	return resident
}

// trip is one way for a message from one device to another and back.
type trip struct {
	name string
	pids []int
	go1  func() error // there and back
}

// alternate lets each trip be made for a while in each round, all on one CPU.
func (b *bench) alternate(trips ...*trip) map[*trip][]sample {
	pids := []int{os.Getpid()}
	for _, t := range trips {
		pids = append(pids, t.pids...)
	}
	b.must(pin(1, pids...))
	defer pin(runtime.NumCPU(), pids...)
	samples := map[*trip][]sample{}
	for range b.rounds {
		for _, t := range trips {
			samples[t] = append(samples[t], b.repeat(t.go1))
		}
	}
	return samples
}

// measureHubTrip sends messages through the hub and back, all on one CPU.
func (b *bench) measureHubTrip() {
	bare := b.tcpTrip()
	short := b.hubTrip("hub")
	bus := b.hubTrip("hub-nats")
	two := b.twoHubsTrip()
	s := b.alternate(&bare, &short, &bus, &two)
	add := func(what string, ours, theirs *trip, bound target) {
		b.table.add(row{what + ", p50", theirs.name, seconds, values(s[ours], byP50), values(s[theirs], byP50), bound})
		b.table.add(row{what + ", p99", theirs.name, seconds, values(s[ours], byP99), values(s[theirs], byP99), target{}})
	}
	add("through the hub and back", &short, &bare, atMost(1.35))
	add("through the hub's own NATS and back", &bus, &bare, atMost(1.7))
	add("through the hub's own NATS and back", &bus, &two, atMost(0.6))
}

func (b *bench) tcpTrip() trip {
	address, pid := b.startRole("tcp-relay", b.TempDir())
	dial := func() net.Conn {
		c, err := net.Dial("tcp", address)
		b.must(err)
		b.Cleanup(func() { c.Close() })
		return c
	}
	near, far := dial(), dial()
	go func() { _, _ = io.Copy(far, far) }()
	return trip{"bare TCP relay", []int{pid}, thereAndBack(near, make([]byte, hubMessage))}
}

func (b *bench) hubTrip(role string) trip {
	url, pid := b.startRole(role, b.TempDir())
	return b.tripBetween(role, url, url, pid)
}

func (b *bench) twoHubsTrip() trip {
	nats, pid := b.startRole("nats-server", b.TempDir())
	pids, urls := []int{pid}, []string{}
	for range 2 {
		dir := b.TempDir()
		b.must(os.WriteFile(filepath.Join(dir, "nats"), []byte(nats), 0o600))
		url, pid := b.startRole("hub-cluster", dir)
		pids, urls = append(pids, pid), append(urls, url)
	}
	return b.tripBetween("two hubs, a NATS server", urls[0], urls[1], pids...)
}

// tripBetween connects two devices, of which the far one sends all back.
func (b *bench) tripBetween(name, nearURL, farURL string, pids ...int) trip {
	near, far := newHubDevice(), newHubDevice()
	b.must(near.connect(nearURL, far.key.ID()))
	b.must(far.connect(farURL, near.key.ID()))
	b.Cleanup(near.close)
	b.Cleanup(far.close)
	b.must(near.waitForPresence())
	b.must(near.write(hubwire.Frame{Kind: hubwire.KindOpen, Peer: far.key.ID(), Stream: 1}))
	go far.echo()
	message := hubwire.Frame{Kind: hubwire.KindData, Peer: far.key.ID(), Stream: 1, Payload: make([]byte, hubMessage)}
	return trip{name, pids, func() error {
		if err := near.write(message); err != nil {
			return err
		}
		f, err := near.read()
		if err == nil && (f.Kind != hubwire.KindData || len(f.Payload) != hubMessage) {
			err = fmt.Errorf("got kind %d with %d bytes", f.Kind, len(f.Payload))
		}
		return err
	}}
}

// measureHubDevices connects ten thousand devices and lets them wait, with TLS to
// the hub and without.
func (b *bench) measureHubDevices() {
	n := hubDevices
	if b.quick {
		n = 200
	}
	if descriptors() < n+n/10 {
		b.table.note("memory for %d devices that wait: not measured, no more than %d descriptors are allowed (ulimit -n)", n, descriptors())
		return
	}
	b.table.within(fmt.Sprintf("one of %d devices that wait", n), kibibytes, []float64{b.idleDevice("hub", n)}, 18<<10)
	b.table.within(fmt.Sprintf("one of %d devices that wait, with TLS", n), kibibytes, []float64{b.idleDevice("hub-tls", n)}, 28<<10)
}

// idleDevice is what each of n devices costs a hub, in bytes.
func (b *bench) idleDevice(role string, n int) float64 {
	url, pid := b.startRole(role, b.TempDir())
	warm := b.connectDevices(url, 100)
	time.Sleep(time.Second)
	b.collect(warm[0].client, url)
	before := b.resident(pid)
	devices := b.connectDevices(url, n)
	time.Sleep(8 * time.Second) // they are asked for a sign of life meanwhile
	b.collect(devices[0].client, url)
	after := b.resident(pid)
	for _, d := range append(devices, warm...) {
		d.close()
	}
	return (after - before) / float64(n)
}

// collect has a hub's garbage collected, which Go does by itself every two
// minutes: what connecting leaves is not what a device that waits costs.
func (b *bench) collect(client *http.Client, url string) {
	answer, err := client.Get(url + collectPath)
	b.must(err)
	b.must(answer.Body.Close())
}

// collecting is a hub that does so when it is asked.
func collecting(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != collectPath {
			h.ServeHTTP(w, r)
			return
		}
		debug.FreeOSMemory()
	})
}

func kibibytes(v float64) string { return fmt.Sprintf("%.1f KiB", v/(1<<10)) }

// connectDevices connects devices that answer pings.
func (b *bench) connectDevices(url string, n int) []*hubDevice {
	devices, errs := make([]*hubDevice, n), make([]error, n)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the hub of this bench
	defer transport.CloseIdleConnections()
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < n; i += 8 {
				devices[i] = newHubDevice()
				devices[i].client = &http.Client{Transport: transport}
				if errs[i] = devices[i].connect(url); errs[i] == nil {
					go devices[i].echo()
				}
			}
		})
	}
	wg.Wait()
	b.must(errors.Join(errs...))
	return devices
}

// The roles.

func hubRole(noShortCut, cluster bool) func(dir string) error {
	return func(dir string) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		c := hub.Config{
			PublicURL: "http://" + l.Addr().String(), NoShortCut: noShortCut, StateDir: filepath.Join(dir, "hub"),
			Limits: everybody,
		}
		if cluster {
			nats, err := os.ReadFile(filepath.Join(dir, "nats"))
			if err != nil {
				return err
			}
			c.NATSURL = string(nats)
		}
		h, err := hub.New(c)
		if err != nil {
			return err
		}
		if err := tellAddress(dir, c.PublicURL); err != nil {
			return err
		}
		s := http.Server{Handler: collecting(h), ReadHeaderTimeout: 10 * time.Second}
		return s.Serve(l)
	}
}

// everybody comes from one address here.
var everybody = func() hub.Limits {
	l := hub.DefaultLimits
	l.ConnectBurst, l.UnprovenPerAddress, l.DevicesPerAddress = 1<<20, 1<<10, 1<<20
	return l
}()

// serveTLS is a hub behind its own front, with certificates of its own CA.
func serveTLS(dir string) error {
	f, err := front.Open(front.Config{
		Listen: "127.0.0.1:0", ListenHTTP: "none", LocalCA: true, LocalNames: []string{"localhost"}, StateDir: dir,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := hub.New(hub.Config{PublicURL: f.PublicURL(), StateDir: filepath.Join(dir, "hub"), Limits: everybody})
	if err != nil {
		return err
	}
	defer h.Close()
	if err := tellAddress(dir, f.PublicURL()); err != nil {
		return err
	}
	return f.Serve(context.Background(), collecting(h))
}

// relayTCP passes bytes between connections in the order in which they come.
func relayTCP(dir string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := tellAddress(dir, l.Addr().String()); err != nil {
		return err
	}
	for {
		one, err := l.Accept()
		if err != nil {
			return err
		}
		other, err := l.Accept()
		if err != nil {
			return err
		}
		go passOn(other, one)
		go passOn(one, other)
	}
}

// serveNATS is a NATS server as it comes, with JetStream for the hubs that want it.
func serveNATS(dir string) error {
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: dir,
	})
	if err != nil {
		return err
	}
	ns.Start()
	if !ns.ReadyForConnections(30 * time.Second) {
		return errors.New("NATS does not start")
	}
	if err := tellAddress(dir, ns.ClientURL()); err != nil {
		return err
	}
	ns.WaitForShutdown()
	return nil
}
