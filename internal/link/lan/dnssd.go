package lan

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/zeroconf/v2"

	"vmux/internal/device"
	"vmux/internal/wire"
)

const (
	// ServiceType is the DNS-SD service of a phone (RFC 6763 section 7).
	ServiceType = "_vmuxsigner._tcp"

	domain      = "local."
	textID      = "id" // TXT: the device ID
	textVersion = "v"  // TXT: the protocol version
	// maxLabel bounds an instance name, which is one DNS label (RFC 6763
	// section 4.1.1).
	maxLabel = 63
	// maxSeen bounds the instances that are remembered, for anyone on the
	// network can make them up.
	maxSeen = 256
	// browseFor is how long one round of browsing lasts before another finds what
	// moved: the library looks at the interfaces once and reports an instance once.
	browseFor = time.Minute
)

// Entry is a device that advertises itself. Nothing in it is proof.
type Entry struct {
	ID        device.ID
	Instance  string   // in DNS presentation format (RFC 1035 section 5.1)
	Addresses []string // HOST:PORT
	Expires   time.Time
}

// Advertise tells the networks of this machine that the device listens on the
// TCP port, until ctx ends; then it withdraws it. It follows interfaces that
// come and go, and returns nil.
func Advertise(ctx context.Context, id device.ID, name string, port int, log *slog.Logger) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	text := []string{textID + "=" + id.String(), textVersion + "=" + strconv.Itoa(wire.Version)}
	onNetworks(ctx, 0, func(ctx context.Context, n network) {
		// A host name of its own: the machine's may be another responder's.
		s, err := zeroconf.RegisterProxy(label(name, id), ServiceType, domain, port,
			"vmux-"+id.Short(), n.addresses, text, n.interfaces)
		if err != nil {
			log.Warn("advertising", "error", err)
			<-ctx.Done()
			return
		}
		<-ctx.Done()
		s.Shutdown()
	})
	return nil
}

// label makes one DNS label of a name, cut at a character's boundary. The
// beginning of the ID keeps two devices of one name apart, since the library
// does not resolve conflicts.
func label(name string, id device.ID) string {
	suffix := " " + id.Short()[:6]
	name = strings.Map(func(r rune) rune {
		if r == '.' || r == '\\' {
			return '-'
		}
		return r
	}, wire.Show(name))
	for len(name)+len(suffix) > maxLabel {
		r := []rune(name)
		name = string(r[:len(r)-1])
	}
	return strings.TrimSpace(name + suffix)
}

// browse calls found for each device that advertises itself, again at least
// every minute as long as it does, until ctx ends.
func browse(ctx context.Context, log *slog.Logger, found func(Entry)) {
	onNetworks(ctx, browseFor, func(ctx context.Context, n network) {
		entries, browsed := make(chan *zeroconf.ServiceEntry), make(chan struct{})
		read := make(chan struct{})
		go func() {
			defer close(read)
			readEntries(entries, browsed, func(z *zeroconf.ServiceEntry) { report(log, z, found) })
		}()
		var err error
		for _, families := range []zeroconf.IPType{zeroconf.IPv4AndIPv6, zeroconf.IPv4, zeroconf.IPv6} {
			// The library looks nowhere if a family is missing, as IPv6 is by ipv6.disable=1.
			err = zeroconf.Browse(ctx, ServiceType, domain, entries, zeroconf.SelectIfaces(n.interfaces), zeroconf.SelectIPTraffic(families))
			if err == nil || ctx.Err() != nil {
				break
			}
		}
		close(browsed)
		<-read
		if err != nil && ctx.Err() == nil {
			log.Debug("browsing", "error", err)
			<-ctx.Done()
		}
	})
}

// readEntries reads until browsing has ended. The library closes the channel
// then, but not if it could not begin.
func readEntries(entries <-chan *zeroconf.ServiceEntry, browsed <-chan struct{}, each func(*zeroconf.ServiceEntry)) {
	for {
		select {
		case e, open := <-entries:
			if !open {
				return
			}
			each(e)
		case <-browsed:
			return
		}
	}
}

func report(log *slog.Logger, z *zeroconf.ServiceEntry, found func(Entry)) {
	e, err := entryOf(z)
	if err != nil {
		log.Debug("advertisement ignored", "error", err)
		return
	}
	found(e)
}

func entryOf(z *zeroconf.ServiceEntry) (Entry, error) {
	var text string
	for _, t := range z.Text {
		if v, ok := strings.CutPrefix(t, textID+"="); ok {
			text = v
		}
	}
	id, err := device.ParseID(text)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{ID: id, Instance: z.Instance, Expires: z.Expiry}
	for _, ip := range slices.Concat(z.AddrIPv4, z.AddrIPv6) {
		if a, ok := address(ip, z.Port); ok && len(e.Addresses) < maxTries {
			e.Addresses = append(e.Addresses, a)
		}
	}
	return e, nil
}

// address writes an advertised address. The library does not tell by which
// interface a link-local one came, so that it cannot be dialled.
func address(ip net.IP, port int) (string, bool) {
	a, ok := netip.AddrFromSlice(ip)
	a = a.Unmap()
	if !ok || port < 1 || port > 65535 || !a.IsGlobalUnicast() && !a.Is4() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
		return "", false
	}
	return netip.AddrPortFrom(a, uint16(port)).String(), true
}

// network is what this machine is connected to.
type network struct {
	interfaces []net.Interface
	addresses  []string
}

// current returns the interfaces that multicast can pass, and their addresses, the likeliest
// first: who is told remembers maxTries, and Linux lets a socket join on 20 interfaces
// (igmp_max_memberships), which a machine with many networks of containers has before its LAN's.
func current() network {
	var by [nearInner + 1]network
	routed := defaultInterfaces()
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagMulticast == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		n := &by[nearOf(i, slices.Contains(routed, i.Name))]
		before := len(n.addresses)
		list, _ := i.Addrs()
		for _, a := range list {
			if p, err := netip.ParsePrefix(a.String()); err == nil && (p.Addr().Is4() || !p.Addr().IsLinkLocalUnicast()) {
				n.addresses = append(n.addresses, p.Addr().String())
			}
		}
		if len(n.addresses) > before {
			n.interfaces = append(n.interfaces, i)
		}
	}
	var all network
	for _, n := range by {
		all.interfaces = append(all.interfaces, n.interfaces...)
		all.addresses = append(all.addresses, n.addresses...)
	}
	return all
}

func (n network) same(o network) bool {
	return slices.Equal(n.addresses, o.addresses) &&
		slices.EqualFunc(n.interfaces, o.interfaces, func(a, b net.Interface) bool { return a.Index == b.Index && a.Name == b.Name })
}

// onNetworks runs f, which returns when its context ends, for what the machine
// is connected to; anew when that changes and, if round is not zero, after each
// round.
func onNetworks(ctx context.Context, round time.Duration, f func(context.Context, network)) {
	for ctx.Err() == nil {
		n := current()
		inner, cancel := context.WithCancel(ctx)
		if round > 0 {
			inner, cancel = context.WithTimeout(ctx, round)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if len(n.interfaces) > 0 {
				f(inner, n)
				return
			}
			<-inner.Done()
		}()
		onChanges(inner, func() (done bool) { return !current().same(n) })
		cancel()
		<-done
	}
}
