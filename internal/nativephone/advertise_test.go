package nativephone

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"vmux/internal/device"
)

// Whoever gives the phone a name that tells less is not announced under the old one any more.
func TestRenamedPhoneIsAnnouncedAnew(t *testing.T) {
	p, _ := newPhone(t)
	if err := p.Rename("alice's phone"); err != nil {
		t.Fatal(err)
	}
	o := p.goOnline(t.Context(), RunConfig{State: func(string, string) {}, Log: slog.New(slog.DiscardHandler)}, nil)
	defer o.end()
	p.setOnline(o)
	type announced struct {
		name string
		ctx  context.Context
	}
	names, done := make(chan announced, 1), make(chan error, 1)
	go func() {
		done <- o.advertise(&net.TCPAddr{IP: net.IPv4zero, Port: 7}, func(ctx context.Context, _ device.ID, name string, _ int, _ *slog.Logger) error {
			names <- announced{name, ctx}
			<-ctx.Done()
			return nil
		})
	}()
	first := <-names
	if err := p.Rename("phone"); err != nil {
		t.Fatal(err)
	}
	if second := <-names; first.name != "alice's phone" || first.ctx.Err() == nil || second.name != "phone" || second.ctx.Err() != nil {
		t.Errorf("announced as %q, then as %q", first.name, second.name)
	}
	o.cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
