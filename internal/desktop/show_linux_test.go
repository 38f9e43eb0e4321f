package desktop

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/godbus/dbus/v5"

	"vmux/internal/testkit"
)

// notificationServer is the part of a desktop that shows notifications.
type notificationServer struct {
	capabilities []string
	shown        chan string
}

func (s *notificationServer) GetCapabilities() ([]string, *dbus.Error) { return s.capabilities, nil }

func (s *notificationServer) Notify(_ string, _ uint32, _, title, text string, _ []string, _ map[string]dbus.Variant, _ int32) (uint32, *dbus.Error) {
	s.shown <- title + ": " + text
	return 1, nil
}

func (s *notificationServer) CloseNotification(id uint32) *dbus.Error {
	s.shown <- fmt.Sprint("closed ", id)
	return nil
}

// serve takes the desktop's place on the bus.
func (s *notificationServer) serve(t *testing.T, address string) *dbus.Conn {
	t.Helper()
	bus, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bus.Close() })
	const name = "org.freedesktop.Notifications"
	if err := bus.Export(s, "/org/freedesktop/Notifications", name); err != nil {
		t.Fatal(err)
	}
	if reply, err := bus.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("%v, %v", reply, err)
	}
	return bus
}

// The desktop shows the text as it is, also one that reads markup; the bus is found
// where the environment does not name it; and where nobody shows notifications, or
// there is no bus, that is an error and nothing is started.
func TestShow(t *testing.T) {
	const text = `mine: login as <a href="https://evil.example">root</a> & more`
	for _, test := range []struct {
		name         string
		capabilities []string
		want         string
	}{
		{"plain text", []string{"body"}, "vmux: " + text},
		{"markup", []string{"body", "body-markup"},
			`vmux: mine: login as &lt;a href=&#34;https://evil.example&#34;&gt;root&lt;/a&gt; &amp; more`},
	} {
		t.Run(test.name, func(t *testing.T) {
			runtime := t.TempDir()
			t.Setenv("XDG_RUNTIME_DIR", runtime)
			t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
			own := NewOwn()
			if _, err := own.Show(t.Context(), title, text); err == nil {
				t.Error("shown without a bus")
			}
			address := testkit.Bus(t, filepath.Join(runtime, "bus"))
			if _, err := own.Show(t.Context(), title, text); err == nil {
				t.Error("shown without a desktop")
			}
			s := &notificationServer{test.capabilities, make(chan string, 2)}
			s.serve(t, address)
			for _, named := range []string{"", address} {
				t.Setenv("DBUS_SESSION_BUS_ADDRESS", named)
				if _, err := own.Show(t.Context(), title, text); err != nil {
					t.Fatalf("bus %q: %v", named, err)
				}
				if got := <-s.shown; got != test.want {
					t.Errorf("bus %q: shown %q, want %q", named, got, test.want)
				}
				if err := own.Close(t.Context(), 1); err != nil {
					t.Errorf("bus %q: %v", named, err)
				}
				if got := <-s.shown; got != "closed 1" {
					t.Errorf("bus %q: %s", named, got)
				}
			}
		})
	}
}

// After the program that shows notifications was started anew its numbers begin anew: that of
// another program is not closed in place of one that went with it.
func TestNotificationsOfAProgramThatIsGone(t *testing.T) {
	address := testkit.Bus(t, filepath.Join(t.TempDir(), "bus"))
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
	own := NewOwn()
	shown := make(chan string, 2)
	first := (&notificationServer{nil, shown}).serve(t, address)
	if id, err := own.Show(t.Context(), title, "waits"); err != nil || id != 1 {
		t.Fatalf("%d, %v", id, err)
	}
	<-shown
	if _, err := first.ReleaseName("org.freedesktop.Notifications"); err != nil {
		t.Fatal(err)
	}
	(&notificationServer{nil, shown}).serve(t, address)
	if err := own.Close(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if len(shown) > 0 {
		t.Errorf("another's notification: %s", <-shown)
	}
}

// A bus that accepts and never answers is given up with the context.
func TestShowOnBusThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+path)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := c.Read(make([]byte, 1)); err == nil { // it has been asked
			cancel()
		}
		_, _ = c.Read(make([]byte, 1<<10)) // until it is closed
	}()
	if _, err := NewOwn().Show(ctx, title, "text"); err == nil || ctx.Err() == nil {
		t.Errorf("%v, context %v", err, ctx.Err())
	}
	_ = os.Remove(path)
}
