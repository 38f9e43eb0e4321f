package link

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/wire"
)

// Tell arrives without an answer on the link that there is, and says when there
// is none.
func TestTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouple(t, nil)
		c.agent.serve = func(context.Context, *Request) (wire.Kind, any) { return "", nil }
		update := wire.DeviceTokenUpdate{Service: wire.ServiceWebPush, Hub: "https://hub.example", Active: true}
		if err := c.phone.Tell(c.agent.id, wire.KindDeviceTokenUpdate, update); !errors.Is(err, ErrNotLinked) {
			t.Errorf("before any link: %v", err)
		}
		defer c.start()()
		c.linked()
		c.phone.until(func() bool { return c.phone.up == 1 })
		if err := c.phone.Tell(c.agent.id, wire.KindDeviceTokenUpdate, update); err != nil {
			t.Fatal(err)
		}
		c.agent.until(func() bool { return len(c.agent.served) == 1 })
		var got wire.DeviceTokenUpdate
		if err := wire.DecodeBody(c.agent.served[0], &got); err != nil || got != update {
			t.Errorf("%+v, %v", got, err)
		}
		time.Sleep(time.Second)
		if len(c.phone.served) > 0 {
			t.Errorf("answered with %s", c.phone.served[0].Kind)
		}
		if err := c.phone.Tell(device.ID{1}, wire.KindDeviceTokenUpdate, update); !errors.Is(err, ErrNotLinked) {
			t.Errorf("to an unpaired device: %v", err)
		}
	})
}
