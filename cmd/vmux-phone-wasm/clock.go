//go:build js && wasm

package main

import (
	"syscall/js"
	"time"
)

// now is the time where the phone is. Go asks the browser once for the zone, and keeps that
// offset when the clocks change and on journeys (golang/go#44408); a page lives for weeks, and
// the hours of a key are those of its person.
func now() time.Time {
	behind := js.Global().Get("Date").New().Call("getTimezoneOffset").Int() // UTC, in minutes
	return time.Now().In(time.FixedZone("", -60*behind))
}
