package waking

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"

	"vmux/internal/link"
	"vmux/internal/link/relay"
)

// What to do about a phone that the local network does not reach.
const (
	hintFirewall = "if vmux runs there, its machine's firewall drops what comes in, or the network keeps devices apart: let that TCP port in, and UDP 5353 to be found at a new address; or bring both to a hub"
	hintNotThere = "start `vmux phone run` there"
	hintMoved    = "the phone has another address now, and is not found by multicast (UDP 5353): let that pass, or run `vmux pair` again"
	hintOffline  = "connect this computer to the phone's network, or bring both to a hub"
	hintNotFound = "see that the phone runs vmux and is on this network, and that UDP 5353 passes; or bring both to a hub"
)

// NotReached says why the last attempt did not reach a phone on the local network,
// and what to do; nothing if there is nothing to be said of the network, as of a
// phone in a pocket.
func NotReached(err error, hub bool) (why, hint string) {
	failures := leaves(err)
	var silent, refused, moved, unreachable []string
	known := false
	for _, e := range failures {
		o, dialled := errors.AsType[*net.OpError](e)
		address, _, _ := strings.Cut(e.Error(), ": ")
		if dialled && o.Addr != nil {
			address = o.Addr.String()
		}
		switch timeout := dialled && o.Timeout() || errors.Is(e, context.DeadlineExceeded); {
		case dialled && o.Net == "hub", errors.Is(e, relay.ErrNotConnected), errors.Is(e, relay.ErrHubLost):
			continue // the hub's own line says it
		case errors.Is(e, syscall.ECONNREFUSED):
			refused = append(refused, address)
		case errors.Is(e, link.ErrWrongDevice):
			moved = append(moved, address)
		case errors.Is(e, syscall.ENETUNREACH), errors.Is(e, syscall.EHOSTUNREACH):
			unreachable = append(unreachable, address)
		case timeout:
			silent = append(silent, address)
		default:
			continue
		}
		known = true
	}
	switch {
	case len(silent) > 0:
		return "no answer at " + silent[0], hintFirewall
	case len(moved) > 0:
		return "another device answers at " + moved[0], hintMoved
	case len(refused) > 0:
		return "nothing listens at " + refused[0], hintNotThere
	case len(unreachable) > 0:
		return "there is no way from here to " + unreachable[0], hintOffline
	case !known && !hub && errors.Is(err, link.ErrNoRoute):
		return "it is not found on this network", hintNotFound
	}
	return "", ""
}

// leaves are the errors that were joined to one, each with what wraps it below
// the last joint.
func leaves(err error) []error {
	if err == nil {
		return nil
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		joined, ok := e.(interface{ Unwrap() []error })
		if !ok {
			continue
		}
		var list []error
		for _, each := range joined.Unwrap() {
			list = append(list, leaves(each)...)
		}
		return list
	}
	return []error{err}
}
