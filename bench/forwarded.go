package main

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"

	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// measureForwarded asks the phone, which approves at once, and for comparison
// sends as many bytes through a bare TLS 1.3 connection and back.
func (b *bench) measureForwarded() {
	echo := thereAndBack(b.startEcho(), b.envelope())
	held := b.vmux
	held.blob = b.world.held()
	var signed, echoed, signed99, echoed99, local []float64
	for range b.rounds {
		s, err := load(signing(held), 1, b.duration)
		b.must(err)
		e := b.repeat(echo)
		l, err := load(signing(b.agent9), 1, b.duration)
		b.must(err)
		signed, signed99 = append(signed, s.p50), append(signed99, s.p99)
		echoed, echoed99 = append(echoed, e.p50), append(echoed99, e.p99)
		local = append(local, l.p50)
	}
	what := "sign by the phone's key, approved at once"
	b.table.add(row{what + ", p50", "TLS 1.3 echo", seconds, signed, echoed, target{}})
	b.table.add(row{what + ", p99", "TLS 1.3 echo", seconds, signed99, echoed99, target{}})
	b.table.add(row{what + ", p50", b.agent9.name + ", local", seconds, signed, local, target{}})
	b.table.note("the phone's key is in the plain Go agent, which the phone asks over a socket of its own")
}

// envelope is as long as the request that goes to the phone.
func (b *bench) envelope() []byte {
	message, err := json.Marshal(wire.RemoteSignRequest{PublicKeyBlob: b.world.held(), DataToSign: make([]byte, signedBytes)})
	b.must(err)
	return append(message, make([]byte, 500)...) // names, times, nonce, envelope
}

// startEcho returns the client's end of a TLS 1.3 connection over loopback.
func (b *bench) startEcho() net.Conn {
	certificate, err := tls.X509KeyPair(testkit.Certificate(b, nil))
	b.must(err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{certificate},
	})
	b.must(err)
	b.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err == nil {
			io.Copy(c, c)
		}
	}()
	// The certificate was made above, in this process.
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true})
	b.must(err)
	b.Cleanup(func() { c.Close() })
	return c
}
