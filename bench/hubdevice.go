package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
)

// hubDevice speaks to a hub without TLS within, so that the hub is measured and
// nothing else.
type hubDevice struct {
	key    *device.Key
	client *http.Client // nil: the default one
	ws     *websocket.Conn
	buffer []byte
	out    []byte
}

func newHubDevice() *hubDevice {
	key, err := device.NewKey()
	if err != nil {
		panic(failure{err})
	}
	return &hubDevice{key: key}
}

// connect proves the device to the hub.
func (d *hubDevice) connect(url string, allow ...device.ID) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, url+hubwire.Path, &websocket.DialOptions{
		HTTPClient: d.client, Subprotocols: []string{hubwire.Subprotocol},
	})
	if err != nil {
		return err
	}
	ws.SetReadLimit(hubwire.MaxMessage)
	d.ws = ws
	challenge, err := d.message()
	if err != nil {
		return err
	}
	signature, err := d.key.Sign(hubwire.SignedBytes(challenge.Origin, challenge.Challenge))
	if err != nil {
		return err
	}
	proof, err := json.Marshal(hubwire.Message{Type: hubwire.TypeProof, PublicKey: d.key.PublicKey(), Signature: signature, Allow: allow})
	if err != nil {
		return err
	}
	if err := ws.Write(ctx, websocket.MessageText, proof); err != nil {
		return err
	}
	if m, err := d.message(); err != nil || m.Type != hubwire.TypeWelcome {
		return fmt.Errorf("no welcome: %+v, %w", m, err)
	}
	return nil
}

func (d *hubDevice) close() { _ = d.ws.CloseNow() }

func (d *hubDevice) message() (hubwire.Message, error) {
	_, b, err := d.ws.Read(context.Background())
	if err != nil {
		return hubwire.Message{}, err
	}
	return hubwire.ParseMessage(b)
}

func (d *hubDevice) waitForPresence() error {
	for {
		if m, err := d.message(); err != nil || m.Type == hubwire.TypePresence {
			return err
		}
	}
}

func (d *hubDevice) write(f hubwire.Frame) error {
	d.out = f.Append(d.out[:0])
	return d.ws.Write(context.Background(), websocket.MessageBinary, d.out)
}

// read returns the next frame, which is good until the next read.
func (d *hubDevice) read() (hubwire.Frame, error) {
	b, err := d.binary()
	if err != nil {
		return hubwire.Frame{}, err
	}
	return hubwire.ParseFrame(b)
}

// binary returns the next binary message, which is good until the next read. A
// device that is sent nothing has no buffer.
func (d *hubDevice) binary() ([]byte, error) {
	for {
		typ, r, err := d.ws.Reader(context.Background())
		if err != nil {
			return nil, err
		}
		if d.buffer == nil {
			d.buffer = make([]byte, hubwire.MaxMessage)
		}
		n, err := io.ReadFull(r, d.buffer)
		if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("a message without end: %w", err)
		}
		if typ == websocket.MessageBinary {
			return d.buffer[:n], nil
		}
	}
}

// echo sends all data back until the connection ends.
func (d *hubDevice) echo() {
	for {
		b, err := d.binary()
		if err != nil {
			return
		}
		if hubwire.Kind(b[0]) == hubwire.KindData && d.ws.Write(context.Background(), websocket.MessageBinary, b) != nil {
			return
		}
	}
}
