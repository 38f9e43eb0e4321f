package test

import (
	"context"
	"fmt"

	"vmux/internal/device"
	"vmux/internal/link"
	"vmux/internal/wire"
)

// linkEvents is a link's handler: it prints when it goes up and down.
type linkEvents struct{ up chan struct{} }

func (h linkEvents) LinkUp(p device.Peer, _ wire.Hello, route string) {
	fmt.Println("up:", route)
	h.up <- struct{}{}
}
func (linkEvents) LinkDown(_ device.Peer, reason error) { fmt.Println("down:", reason) }
func (linkEvents) Unpaired(device.Peer)                 {}
func (linkEvents) Paired(device.Peer)                   {}
func (linkEvents) Serve(context.Context, *link.Request) (wire.Kind, any) {
	return wire.KindKeyListResponse, wire.KeyListResponse{}
}
