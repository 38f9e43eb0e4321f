package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"vmux/internal/sshctx"
)

// Message numbers of RFC 9987.
const (
	msgRequestIdentities = 11
	msgIdentitiesAnswer  = 12
	msgSignRequest       = 13
	msgSignResponse      = 14
)

var listRequest = []byte{0, 0, 0, 1, msgRequestIdentities}

// signedBytes are about as many as an ssh login has signed with a P-256 certificate.
const signedBytes = 800

// signRequest asks for the signature of a login by that key, which is all that a
// session certificate signs. The session is the same each time: an unbound client
// process has one.
func signRequest(blob []byte) []byte {
	length := binary.BigEndian.Uint32(blob) // of the key's type
	login := sshctx.Context{
		Kind: sshctx.UserAuth, SessionID: make([]byte, 32), User: "root", Service: "ssh-connection",
		Algorithm: string(blob[4 : 4+length]), PublicKey: blob,
	}
	return signRequestOf(blob, login.Marshal())
}

func signRequestOf(blob, data []byte) []byte {
	body := []byte{0, 0, 0, 0, msgSignRequest}
	for _, s := range [][]byte{blob, data} {
		body = binary.BigEndian.AppendUint32(body, uint32(len(s)))
		body = append(body, s...)
	}
	body = append(body, 0, 0, 0, 0) // flags
	binary.BigEndian.PutUint32(body, uint32(len(body)-4))
	return body
}

// client is one connection to an agent.
type client struct {
	conn   net.Conn
	reader *bufio.Reader
	answer []byte
}

func dialAgent(socket string) (*client, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	return &client{conn: c, reader: bufio.NewReaderSize(c, 8<<10)}, nil
}

// ask sends a request and reads its answer, which has to have the number want.
func (c *client) ask(request []byte, want byte) error {
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	header, err := c.reader.Peek(4)
	if err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint32(header))
	c.reader.Discard(4)
	c.answer = slices.Grow(c.answer[:0], n)[:n]
	if _, err := io.ReadFull(c.reader, c.answer); err != nil {
		return err
	}
	if n == 0 || c.answer[0] != want {
		return fmt.Errorf("the agent answers %x, not with message %d", c.answer[:min(n, 8)], want)
	}
	return nil
}

// sample is what one variant did in one round.
type sample struct {
	perSecond float64
	p50, p99  float64 // seconds
	cpu       float64 // seconds that the agent computed for each request; 0 if unknown
}

// work is what the connections of a load do, again and again.
type work struct {
	socket  string
	request []byte
	want    byte
}

// load lets n connections work for a while.
func load(w work, n int, duration time.Duration) (sample, error) {
	clients := make([]*client, n)
	for i := range clients {
		c, err := dialAgent(w.socket)
		if err != nil {
			return sample{}, err
		}
		defer c.conn.Close()
		c.conn.SetDeadline(time.Now().Add(duration + 20*time.Second))
		if err := c.ask(w.request, w.want); err != nil {
			return sample{}, err
		}
		clients[i] = c
	}
	latencies := make([][]time.Duration, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	begin := time.Now()
	for i, c := range clients {
		wg.Go(func() { latencies[i], errs[i] = c.repeat(w, begin.Add(duration)) })
	}
	wg.Wait()
	elapsed := time.Since(begin)
	for _, err := range errs {
		if err != nil {
			return sample{}, err
		}
	}
	return summarise(slices.Concat(latencies...), elapsed), nil
}

func (c *client) repeat(w work, end time.Time) ([]time.Duration, error) {
	latencies := make([]time.Duration, 0, 1<<12)
	last := time.Now()
	for last.Before(end) {
		if err := c.ask(w.request, w.want); err != nil {
			return nil, err
		}
		now := time.Now()
		latencies = append(latencies, now.Sub(last))
		last = now
	}
	return latencies, nil
}

func summarise(latencies []time.Duration, elapsed time.Duration) sample {
	slices.Sort(latencies)
	n := len(latencies)
	return sample{
		perSecond: float64(n) / elapsed.Seconds(),
		p50:       latencies[n/2].Seconds(),
		p99:       latencies[n*99/100].Seconds(),
	}
}
