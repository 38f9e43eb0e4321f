package test

import (
	"context"
	"fmt"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/wire"
)

// teller is a host's handler: it prints what happens.
type teller struct{ up chan struct{} }

func (h teller) LinkUp(p device.Peer, _ wire.Hello, route string) {
	fmt.Println("up:", route)
	h.up <- struct{}{}
}
func (teller) LinkDown(_ device.Peer, reason error) { fmt.Println("down:", reason) }
func (teller) Unpaired(device.Peer)                 {}
func (teller) Paired(device.Peer)                   {}
func (teller) Serve(context.Context, *link.Request) (wire.Kind, any) {
	return wire.KindKeyListResponse, wire.KeyListResponse{}
}
