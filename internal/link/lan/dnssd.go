package lan

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"

	"github.com/brutella/dnssd"

	"vmux/internal/device"
	"vmux/internal/wire"
)

const (
	// ServiceType is the DNS-SD service of a phone (RFC 6763 section 7).
	ServiceType = "_vmuxsigner._tcp"

	textID      = "id" // TXT: the device ID
	textVersion = "v"  // TXT: the protocol version
	// maxLabel bounds an instance name, which is one DNS label (RFC 6763
	// section 4.1.1).
	maxLabel = 63
	// maxSeen bounds the instances that are remembered, for anyone on the
	// network can make them up.
	maxSeen = 256
)

// Entry is a device that advertises itself. Nothing in it is proof.
type Entry struct {
	ID        device.ID
	Name      string
	Interface string
	Addresses []string // HOST:PORT
}

func (e Entry) instance() string { return e.Name + "\x00" + e.Interface }

// Advertise tells the networks of this machine that the device listens on the
// TCP port, until ctx ends; then it says goodbye. Where there is no multicast
// interface it only waits, since one may come up later.
func Advertise(ctx context.Context, id device.ID, name string, port int) error {
	service, err := dnssd.NewService(dnssd.Config{
		Name: label(name), Type: ServiceType, Port: port,
		Text: map[string]string{textID: id.String(), textVersion: strconv.Itoa(wire.Version)},
	})
	if err != nil {
		return fmt.Errorf("advertise: %w", err)
	}
	responder, err := dnssd.NewResponder()
	if err != nil {
		return fmt.Errorf("advertise: %w", err)
	}
	if _, err := responder.Add(service); err != nil {
		return fmt.Errorf("advertise: %w", err)
	}
	if err := responder.Respond(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("advertise: %w", err)
	}
	return nil
}

// label cuts a name to one DNS label, at a character's boundary.
func label(name string) string {
	name = wire.Show(name)
	for len(name) > maxLabel {
		r := []rune(name)
		name = string(r[:len(r)-1])
	}
	if name == "" {
		return "vmux"
	}
	return name
}

// Browse calls found for each device that advertises itself and gone when it
// says goodbye or its records expire, until ctx ends.
func Browse(ctx context.Context, log *slog.Logger, found, gone func(Entry)) error {
	tell := func(to func(Entry)) func(dnssd.BrowseEntry) {
		return func(b dnssd.BrowseEntry) {
			e, err := entryOf(b)
			if err != nil {
				log.Debug("advertisement ignored", "error", err)
				return
			}
			to(e)
		}
	}
	err := dnssd.LookupType(ctx, ServiceType+".local.", tell(found), tell(gone))
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("browse: %w", err)
	}
	return nil
}

func entryOf(b dnssd.BrowseEntry) (Entry, error) {
	id, err := device.ParseID(b.Text[textID])
	if err != nil {
		return Entry{}, err
	}
	e := Entry{ID: id, Name: wire.Show(b.Name), Interface: b.IfaceName}
	for _, ip := range b.IPs {
		if a, ok := address(ip, b.IfaceName, b.Port); ok && len(e.Addresses) < maxTries {
			e.Addresses = append(e.Addresses, a)
		}
	}
	return e, nil
}

// address writes an advertised address. A link-local IPv6 address means
// something only together with the interface that it came by.
func address(ip net.IP, ifname string, port int) (string, bool) {
	a, ok := netip.AddrFromSlice(ip)
	if !ok || port < 1 || port > 65535 {
		return "", false
	}
	a = a.Unmap()
	if a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
		return "", false
	}
	if a.Is6() && a.IsLinkLocalUnicast() {
		a = a.WithZone(ifname)
	}
	return netip.AddrPortFrom(a, uint16(port)).String(), true
}
