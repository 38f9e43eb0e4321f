package link

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"

	"vmux/internal/wire"
)

// payload makes an envelope of about 600 bytes.
var payload = struct {
	Data []byte `json:"data"`
}{bytes.Repeat([]byte("a"), 380)}

// BenchmarkAsk is one request and its answer over TLS on loopback TCP.
func BenchmarkAsk(b *testing.B) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	phone, agent := newActor(b, "phone"), newActor(b, "laptop", func(c *Config) { c.Routes = []Route{tcpRoute{l.Addr().String(), nil}} })
	phone.Node.handler = echo{phone}
	agent.trusts(phone)
	phone.trusts(agent)
	phone.run()
	agent.run()
	go func() { _ = phone.Node.Serve(context.Background(), l) }()
	ask := func() {
		if _, err := agent.Ask(context.Background(), phone.id, wire.KindKeyListRequest, wire.NewID(), payload, nil); err != nil {
			b.Fatal(err)
		}
	}
	ask()
	b.ReportAllocs()
	for b.Loop() {
		ask()
	}
}

type echo struct{ *actor }

func (echo) Serve(context.Context, *Request) (wire.Kind, any) {
	return wire.KindKeyListResponse, payload
}

// BenchmarkRawEcho is the yardstick: the same bytes over bare TCP.
func BenchmarkRawEcho(b *testing.B) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
		}
	}()
	c := must(net.Dial("tcp", l.Addr().String()))
	defer c.Close()
	buf := make([]byte, 600)
	for b.Loop() {
		_ = must(c.Write(buf))
		_ = must(io.ReadFull(c, buf))
	}
}
