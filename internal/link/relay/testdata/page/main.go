// Page is a phone in a page: the wasm program that the test of the browser's
// WebSocket runs under Node. Arguments: the hub's URL, and the ID of the computer
// that it is paired with. It prints its own ID, and answers requests with their
// own bodies until it is killed.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/link/relay"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run(url, computer string) error {
	key, err := device.NewKey()
	if err != nil {
		return err
	}
	id, err := device.ParseID(computer)
	if err != nil {
		return err
	}
	trust := device.NewTrust(new(testkit.Document))
	if err := trust.Add(device.Peer{ID: id, Name: wire.Clean("laptop"), PairedAt: time.Now()}); err != nil {
		return err
	}
	hub, err := relay.New(relay.Config{URL: url, Key: key, Allow: func() []device.ID { return []device.ID{id} }})
	if err != nil {
		return err
	}
	node := link.New(link.Config{Key: key, Trust: trust, Name: "page", Handler: echo{}})
	fmt.Println(key.ID())
	ctx := context.Background()
	go func() { _ = hub.Run(ctx) }()
	go func() { _ = node.Serve(ctx, hub.Listener()) }()
	return node.Run(ctx)
}

type echo struct{}

func (echo) LinkUp(device.Peer, wire.Hello, string) {}
func (echo) LinkDown(device.Peer, error)            {}
func (echo) Unpaired(device.Peer)                   {}
func (echo) Paired(device.Peer)                     {}
func (echo) Serve(_ context.Context, r *link.Request) (wire.Kind, any) {
	return wire.KindKeyListResponse, r.Envelope.Body
}
