package mdns

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	mdnsPort   = 5353
	maxMessage = 9000 // RFC 6762 section 17
	ttl        = 255  // RFC 6762 section 11
	// unicastAnswer is the bit of a question's class that wants the answer sent to the
	// one who asks (RFC 6762 section 5.4).
	unicastAnswer = 1 << 15
)

var (
	group4 = net.IPv4(224, 0, 0, 251)
	group6 = net.ParseIP("ff02::fb")
)

// askEverybody asks on each interface that multicast can pass.
func askEverybody(ctx context.Context, name string, told func(answer)) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagMulticast == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		for _, c := range conns(i) {
			asking.Go(func() { c.ask(ctx, name, told) })
		}
	}
}

// conn asks on one interface.
type conn struct {
	*net.UDPConn
	to    *net.UDPAddr
	class dnsmessage.Class
	zone  string // the interface's name
}

// conns opens an interface's sockets. Of each family one has a port of its own, to which
// answers come as to any program; the other has the port of multicast DNS itself, for
// firewalls that let nothing else in. What cannot be opened is left out.
func conns(i net.Interface) []conn {
	var list []conn
	add := func(c *net.UDPConn, err error, to net.IP, class dnsmessage.Class) {
		if err != nil {
			return
		}
		address := &net.UDPAddr{IP: to, Port: mdnsPort}
		if to.To4() == nil {
			address.Zone = i.Name
			_ = ipv6.NewPacketConn(c).SetMulticastInterface(&i)
			_ = ipv6.NewPacketConn(c).SetMulticastHopLimit(ttl)
		} else {
			_ = ipv4.NewPacketConn(c).SetMulticastInterface(&i)
			_ = ipv4.NewPacketConn(c).SetMulticastTTL(ttl)
		}
		list = append(list, conn{c, address, class, i.Name})
	}
	addresses, _ := i.Addrs()
	var has4, has6 bool
	for _, a := range addresses {
		p, err := netip.ParsePrefix(a.String())
		ip := p.Addr()
		switch {
		case err != nil:
		case ip.Is4() && !has4:
			has4 = true
			c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: ip.AsSlice()})
			add(c, err, group4, dnsmessage.ClassINET|unicastAnswer)
			c, err = net.ListenMulticastUDP("udp4", &i, &net.UDPAddr{IP: group4, Port: mdnsPort})
			add(c, err, group4, dnsmessage.ClassINET)
		case ip.Is6() && ip.IsLinkLocalUnicast() && !has6:
			has6 = true
			c, err := net.ListenUDP("udp6", &net.UDPAddr{IP: ip.AsSlice(), Zone: i.Name})
			add(c, err, group6, dnsmessage.ClassINET|unicastAnswer)
			c, err = net.ListenMulticastUDP("udp6", &i, &net.UDPAddr{IP: group6, Port: mdnsPort})
			add(c, err, group6, dnsmessage.ClassINET)
		}
	}
	return list
}

// ask sends the question, again after one second and after two more, and tells each
// answer until ctx ends. It closes the socket.
func (c conn) ask(ctx context.Context, name string, told func(answer)) {
	var reading sync.WaitGroup
	defer reading.Wait()
	defer c.Close()
	question, err := query(name, c.class)
	if err != nil {
		return
	}
	reading.Go(func() { c.read(name, told) })
	for pause := time.Second; ; pause *= 2 {
		_, _ = c.WriteToUDP(question, c.to) // an interface that has just gone
		again := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-again.C:
		}
	}
}

func (c conn) read(name string, told func(answer)) {
	b := make([]byte, maxMessage)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		for _, ip := range answersTo(b[:n], name) {
			if ip.Is6() && ip.IsLinkLocalUnicast() {
				ip = ip.WithZone(c.zone)
			}
			told(answer{ip: ip})
		}
	}
}

// query is the question for both kinds of addresses.
func query(name string, class dnsmessage.Class) ([]byte, error) {
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{Questions: []dnsmessage.Question{
		{Name: n, Type: dnsmessage.TypeA, Class: class}, {Name: n, Type: dnsmessage.TypeAAAA, Class: class},
	}}
	return m.Pack()
}

// answersTo returns the addresses that a message tells of the name. Anybody in the
// network may have sent it; what it does not hold whole is left out.
func answersTo(message []byte, name string) []netip.Addr {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil || !h.Response || p.SkipAllQuestions() != nil {
		return nil
	}
	var list []netip.Addr
	for len(list) < maxAddresses {
		r, err := p.Answer()
		if err != nil {
			return list
		}
		if !strings.EqualFold(strings.TrimSuffix(r.Header.Name.String(), "."), name) || r.Header.TTL == 0 { // it is withdrawn
			continue
		}
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			list = append(list, netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			list = append(list, netip.AddrFrom16(body.AAAA))
		}
	}
	return list
}
