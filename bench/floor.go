package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"net"
	"path/filepath"
	"time"
)

// noteFloor tells what no agent in Go can go below: one signature, and one
// round trip through a Unix socket.
func (b *bench) noteFloor() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.must(err)
	hash := sha256.Sum256(make([]byte, signedBytes))
	signature := b.repeat(func() error {
		_, err := key.Sign(nil, hash[:], crypto.SHA256)
		return err
	})
	trip := b.repeat(thereAndBack(b.socketEcho(), make([]byte, 1)))
	b.table.note("floor on one CPU: a P-256 signature in Go %s, a round trip through a Unix socket within a process %s",
		seconds(signature.p50), seconds(trip.p50))
}

func (b *bench) repeat(f func() error) sample {
	var latencies []time.Duration
	begin := time.Now()
	for last := begin; last.Sub(begin) < b.duration; {
		b.must(f())
		now := time.Now()
		latencies = append(latencies, now.Sub(last))
		last = now
	}
	return summarise(latencies, time.Since(begin))
}

// socketEcho returns one end of a connection whose other end sends all back.
func (b *bench) socketEcho() net.Conn {
	l, err := net.Listen("unix", filepath.Join(b.TempDir(), "s"))
	b.must(err)
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	b.must(err)
	other, err := l.Accept()
	b.must(err)
	b.Cleanup(func() { c.Close() })
	go func() {
		defer other.Close()
		passOn(other, other)
	}()
	return c
}

// thereAndBack sends a message to what sends all back, and reads it.
func thereAndBack(c net.Conn, message []byte) func() error {
	answer := make([]byte, len(message))
	return func() error {
		if _, err := c.Write(message); err != nil {
			return err
		}
		_, err := io.ReadFull(c, answer)
		return err
	}
}

// passOn passes bytes on until the end. The kernel's splice is another thing.
func passOn(to io.Writer, from io.Reader) {
	_, _ = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
}
