package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"time"

	"vmux/internal/wire"
)

// measureForwarded asks the phone, which approves at once, and for comparison
// sends as many bytes through a bare TLS 1.3 connection and back.
func (b *bench) measureForwarded() {
	echo := b.startEcho()
	held := b.vmux
	held.blob = b.world.held()
	var signed, echoed, signed99, echoed99, local []float64
	for range b.rounds {
		s, err := load(signing(held), 1, b.duration)
		b.must(err)
		e := b.echoRound(echo)
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

func (b *bench) echoRound(c net.Conn) sample {
	message := b.envelope()
	answer := make([]byte, len(message))
	var latencies []time.Duration
	begin := time.Now()
	last := begin
	for last.Sub(begin) < b.duration {
		_, err := c.Write(message)
		b.must(err)
		_, err = io.ReadFull(c, answer)
		b.must(err)
		now := time.Now()
		latencies = append(latencies, now.Sub(last))
		last = now
	}
	return summarise(latencies, last.Sub(begin))
}

// envelope is as long as the request that goes to the phone.
func (b *bench) envelope() []byte {
	message, err := json.Marshal(wire.RemoteSignRequest{PublicKeyBlob: b.world.held(), DataToSign: make([]byte, signedBytes)})
	b.must(err)
	return append(message, make([]byte, 500)...) // names, times, nonce, envelope
}

// startEcho returns the client's end of a TLS 1.3 connection over loopback.
func (b *bench) startEcho() net.Conn {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	b.must(err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}},
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
