//go:build linux

package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"image/png"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"
	sshclient "golang.org/x/crypto/ssh/agent"

	"vmux/internal/control"
	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/tray"
)

// trayProgram is vmux-tray as it is released, built once for all tests.
var trayProgram = sync.OnceValues(func() (string, error) {
	return filepath.Join(scratch, "vmux-tray"), testkit.Build(scratch, nil, "vmux/cmd/vmux-tray")
})

// onlyTray is a panel of Xfce's with nothing but a tray.
const onlyTray = `<?xml version="1.0" encoding="UTF-8"?>
<channel name="xfce4-panel" version="1.0">
  <property name="configver" type="int" value="2"/>
  <property name="panels" type="array">
    <value type="int" value="1"/>
    <property name="panel-1" type="empty">
      <property name="position" type="string" value="p=6;x=0;y=0"/>
      <property name="length" type="uint" value="100"/>
      <property name="size" type="uint" value="30"/>
      <property name="plugin-ids" type="array"><value type="int" value="1"/></property>
    </property>
  </property>
  <property name="plugins" type="empty"><property name="plugin-1" type="string" value="systray"/></property>
</channel>
`

// traySession is a desktop's session with vmux-tray in it, as other programs of the
// session see it.
type traySession struct {
	*world
	bus  *dbus.Conn
	tray *daemon
}

func newTraySession(t *testing.T) *traySession {
	t.Helper()
	s := &traySession{world: unpairedWorld(t)}
	h := s.computer
	env := desktop(t, h)
	bin, config := filepath.Join(h.dir, "bin"), filepath.Join(h.dir, ".config/xfce4/xfconf/xfce-perchannel-xml")
	for _, err := range []error{
		os.MkdirAll(bin, 0o700), os.MkdirAll(config, 0o700),
		os.WriteFile(filepath.Join(config, "xfce4-panel.xml"), []byte(onlyTray), 0o600),
		os.WriteFile(filepath.Join(bin, "xdg-open"), []byte("#!/bin/sh\necho \"$1\" >"+h.dir+"/opened.new && mv "+h.dir+"/opened.new "+h.dir+"/opened\n"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	h.env = append(env, "PATH="+bin+":/usr/bin:/bin", "NO_AT_BRIDGE=1", "GDK_BACKEND=x11")
	path, err := trayProgram()
	if err == nil {
		s.bus, err = dbus.Connect(strings.TrimPrefix(env[0], "DBUS_SESSION_BUS_ADDRESS="))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.bus.Close() })
	s.tray = h.startProgram("tray.log", path)
	return s
}

// item is the tray's own object on the bus, that of its icon or of its menu.
func (s *traySession) item(path string) dbus.BusObject {
	name := fmt.Sprintf("org.kde.StatusNotifierItem-%d-1", s.tray.cmd.Process.Pid)
	return s.bus.Object(name, dbus.ObjectPath("/StatusNotifierItem"+path))
}

// startPanel starts the desktop's panel and waits until it has the icon.
func (s *traySession) startPanel() *daemon {
	s.Helper()
	panel := s.computer.startProgram("panel.log", "xfce4-panel", "--disable-wm-check")
	waitFor(s, "the icon in the panel", func() bool {
		v, err := s.bus.Object("org.kde.StatusNotifierWatcher", "/StatusNotifierWatcher").
			GetProperty("org.kde.StatusNotifierWatcher.RegisteredStatusNotifierItems")
		items, _ := v.Value().([]string)
		return err == nil && len(items) == 1
	})
	return panel
}

// line is a line of the menu as any desktop reads it.
type line struct {
	id      int32
	label   string
	enabled bool
}

func (s *traySession) menu() (lines []line) {
	s.Helper()
	type layout struct {
		ID         int32
		Properties map[string]dbus.Variant
		Children   []dbus.Variant
	}
	var revision uint32
	var root layout
	if s.item("/menu").Call("com.canonical.dbusmenu.GetLayout", 0, int32(0), int32(-1), []string{}).Store(&revision, &root) != nil {
		return nil // it is about to start
	}
	for _, child := range root.Children {
		var l layout
		if err := dbus.Store([]any{child.Value()}, &l); err != nil {
			s.Fatal(err)
		}
		label, _ := l.Properties["label"].Value().(string)
		enabled, _ := l.Properties["enabled"].Value().(bool)
		lines = append(lines, line{l.ID, strings.ReplaceAll(label, "__", "_"), enabled})
	}
	return lines
}

// find waits for a line that begins so.
func (s *traySession) find(label string) (found line) {
	s.Helper()
	waitFor(s, fmt.Sprintf("%q in the menu", label), func() bool {
		for _, found = range s.menu() {
			if strings.HasPrefix(strings.TrimSpace(found.label), label) {
				return true
			}
		}
		return false
	})
	return found
}

// click chooses a line, as a desktop does.
func (s *traySession) click(label string) {
	s.Helper()
	l := s.find(label)
	if !l.enabled {
		s.Fatalf("%q is disabled", label)
	}
	if err := s.item("/menu").Call("com.canonical.dbusmenu.Event", 0, l.id, "clicked", dbus.MakeVariant(int32(0)), uint32(0)).Err; err != nil {
		s.Fatal(err)
	}
}

// waitIcon waits until the desktop is given that icon.
func (s *traySession) waitIcon(want tray.Icon) {
	s.Helper()
	picture, err := png.Decode(bytes.NewReader(want.PNG(false)))
	if err != nil {
		s.Fatal(err)
	}
	var pixels []byte // ARGB
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			r, g, b, a := picture.At(x, y).RGBA()
			pixels = append(pixels, byte(a), byte(r), byte(g), byte(b))
		}
	}
	waitFor(s, fmt.Sprintf("the icon %+v", want), func() bool {
		var icons []struct {
			W, H   int32
			Pixels []byte
		}
		v, err := s.item("").GetProperty("org.kde.StatusNotifierItem.IconPixmap")
		return err == nil && v.Store(&icons) == nil && len(icons) == 1 && bytes.Equal(icons[0].Pixels, pixels)
	})
}

// A day with the tray, in a real desktop's panel: it is there before the panel and before
// the agent, and comes back after each of them; a phone is paired by its page; what waits
// is counted and withdrawn, and what the menu copies is in the clipboard.
func TestTray(t *testing.T) {
	t.Parallel()
	s := newTraySession(t)
	s.tray.waitLog("this desktop shows no tray icons")
	panel := s.startPanel()
	s.find("The agent is not running")
	s.waitIcon(tray.Icon{})

	s.createIdentity("deploy_key", "ssh-ed25519")
	s.startPhone()
	s.startAgent()
	s.find(control.LineNotConnected)
	s.pairByPage()
	s.find(control.LineConnected)
	s.waitIcon(tray.Icon{Shape: tray.Connected})

	// An underscore is no access key, and a click copies.
	key := s.identity("deploy_key")
	s.click("deploy_key  " + key.Fingerprint)
	waitFor(t, "the key in the clipboard", func() bool {
		out, err := s.computer.commandOf(context.Background(), "xclip", "-selection", "clipboard", "-o").Output()
		return err == nil && strings.HasPrefix(string(out), "ssh-ed25519 ") && strings.HasSuffix(string(out), " deploy_key")
	})

	s.withdraws(key)

	panel.stop()
	waitFor(t, "the end of the panel", func() bool {
		var there bool
		err := s.bus.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, "org.kde.StatusNotifierWatcher").Store(&there)
		return err == nil && !there
	})
	s.startPanel()
	s.agent.stop()
	s.find("The agent is not running")
	s.waitIcon(tray.Icon{})
	s.startAgent()
	s.waitIcon(tray.Icon{Shape: tray.Connected})

	again := s.computer.commandOf(t.Context(), s.tray.cmd.Path)
	if out, err := again.CombinedOutput(); err == nil || !strings.Contains(string(out), "running already") {
		t.Errorf("a second tray: %v, %s", err, out)
	}
	s.click("Quit")
	<-s.tray.exited
	if status := s.tray.cmd.ProcessState.ExitCode(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// pairByPage pairs the phone by the page that the menu opens.
func (s *traySession) pairByPage() {
	s.Helper()
	s.click("Pair Phone…")
	opened := filepath.Join(s.computer.dir, "opened")
	waitFor(s, "the page", func() bool { _, err := os.Stat(opened); return err == nil })
	url, err := os.ReadFile(opened)
	if err != nil {
		s.Fatal(err)
	}
	page := s.read(http.MethodGet, strings.TrimSpace(string(url)))
	invitation := regexp.MustCompile(`vmux phone pair '([^']+)'`).FindStringSubmatch(page)
	wait := regexp.MustCompile(`fetch\("\\?(/[A-Z0-9]+)"`).FindStringSubmatch(page)
	if invitation == nil || wait == nil {
		s.Fatalf("the page begins %.300s", page)
	}
	outcome := make(chan string, 1)
	go func() {
		outcome <- s.read(http.MethodPost, string(url[:strings.LastIndex(string(url), "/")])+wait[1])
	}()
	s.phone.runInput(html.UnescapeString(invitation[1])+"\n", "phone", "pair", "-")
	if text := <-outcome; !strings.HasPrefix(text, "Paired with ") {
		s.Errorf("the page says %q", text)
	}
}

func (s *traySession) read(method, url string) string {
	request, err := http.NewRequestWithContext(deadline(s.TB), method, url, nil)
	if err != nil {
		return err.Error()
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// displayed is how many notifications dunst shows.
func (s *traySession) displayed() string {
	out, err := s.computer.commandOf(context.Background(), "dunstctl", "count", "displayed").Output()
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(out))
}

// withdraws has a signature asked for, of a phone that does not answer, and takes it back.
// There is one notification of it, though tray and agent could both show one, and it goes.
func (s *traySession) withdraws(key identity) {
	s.Helper()
	s.phoneRun.cmd.Process.Signal(syscall.SIGSTOP)
	defer s.phoneRun.cmd.Process.Signal(syscall.SIGCONT)
	message := sshctx.Context{Kind: sshctx.SSHSIG, Namespace: "git", HashAlgorithm: "sha512", Hash: make([]byte, 64)}
	waitFor(s, "the end of other notifications", func() bool {
		s.computer.commandOf(context.Background(), "dunstctl", "close-all").Run()
		return s.displayed() == "0"
	})
	result := make(chan error, 1)
	go func() {
		_, err := sshclient.NewClient(s.client()).Sign(key.key(s), message.Marshal())
		result <- err
	}()
	s.waitIcon(tray.Icon{Shape: tray.Waiting, Count: 1})
	if l := s.find("deploy_key: signature for git"); l.enabled || !strings.HasSuffix(l.label, " s left") {
		s.Errorf("what waits: %+v", l)
	}
	waitFor(s, "the notification", func() bool { return s.displayed() == "1" })
	s.click("Withdraw")
	if err := <-result; err == nil {
		s.Error("signed, though it was withdrawn")
	}
	waitFor(s, "the end of the notification", func() bool { return s.displayed() == "0" })
	told := slices.DeleteFunc(s.computer.shown(), func(text string) bool { return !strings.HasPrefix(text, "Approve on the phone: deploy_key") })
	if len(told) != 1 {
		s.Errorf("%d notifications of what waited: %q", len(told), s.computer.shown())
	}
	var status control.Status
	if err := json.Unmarshal([]byte(s.computer.run("status", "--json")), &status); err != nil || status.LastFailure == nil ||
		status.LastFailure.Sentence != "Withdrawn on this computer." {
		s.Errorf("%v, %+v", err, status.LastFailure)
	}
}
