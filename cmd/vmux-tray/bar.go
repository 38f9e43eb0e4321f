//go:build linux || (darwin && cgo)

package main

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"fyne.io/systray"

	"vmux/internal/control"
	"vmux/internal/desktop"
	"vmux/internal/tray"
)

// calm is the shortest time between two changes of what is shown: thirty logins at once
// are no reason to draw thirty menus.
const calm = 150 * time.Millisecond

// settling is longer than systray takes to announce itself: an icon that it is given just
// then gets lost.
const settling = time.Second

// showIn shows the agent in the menu bar or tray until Quit is chosen there, ctx ends, or
// the desktop does.
func showIn(ctx context.Context, agent *control.Client, log *slog.Logger) error {
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	if err := enter(ctx, quit, log); err != nil {
		return err
	}
	b := &bar{clicked: make(chan tray.Line, 8)}
	ended := make(chan struct{})
	systray.Run(func() {
		guarded(quit, func() { b.show(nil) }) // before the desktop asks: it waits for the first menu
		go func() {
			defer close(ended)
			b.run(ctx, quit, agent, log)
			systray.Quit()
		}()
	}, func() {})
	quit()
	<-ended
	return nil
}

// bar is what is shown now; it belongs to the goroutine that calls show.
type bar struct {
	lines   []tray.Line
	items   []*systray.MenuItem // of lines; nil: a separator
	icon    tray.Icon
	tooltip string
	clicked chan tray.Line
}

// run shows each status that comes until ctx ends, and has done what is clicked.
func (b *bar) run(ctx context.Context, quit func(), agent *control.Client, log *slog.Logger) {
	newest := make(chan *control.Status, 1)
	tell := &teller{Notifier: desktop.New(nil, log)}
	var watched sync.WaitGroup
	watched.Go(func() { tell.Run(ctx) })
	watched.Go(func() {
		watch(ctx, agent, log, func(s *control.Status) {
			tell.look(ctx, s)
			select { // what has not been shown yet is not news any more
			case <-newest:
			default:
			}
			newest <- s
		})
	})
	does := &actions{agent: agent, log: log, tell: tell.Notifier}
	var s *control.Status
	settled := time.After(settling)
	for shown := time.Now(); ; {
		select {
		case s = <-newest:
			select { // rather late than each
			case <-ctx.Done():
			case <-time.After(calm - time.Since(shown)):
			}
			select {
			case s = <-newest:
			default:
			}
		case <-settled:
			b.tooltip = "" // shows icon and tooltip once more
		case <-systray.TrayOpenedCh: // the seconds in the menu have gone on
		case l := <-b.clicked:
			if l.Does == tray.Quit {
				quit()
			} else {
				go does.do(ctx, l)
			}
			continue
		case <-ctx.Done():
			watched.Wait()
			return
		}
		guarded(quit, func() { b.show(s) })
		shown = time.Now()
	}
}

// guarded draws. The desktop may end just then, without which systray cannot draw, and
// panics: that ends this program as any other end of the desktop does.
func guarded(quit, draw func()) {
	defer func() {
		if p := recover(); p != nil && !desktopGone(p) {
			panic(p)
		} else if p != nil {
			quit()
		}
	}()
	draw()
}

// show changes what has to be changed. A menu that is open stays so while its lines are
// the same: desktops close one that is made anew, and a line that is made anew has an ID
// of its own, so that a click cannot do what another line is for.
func (b *bar) show(s *control.Status) {
	lines := tray.Menu(s, time.Now())
	if slices.EqualFunc(lines, b.lines, tray.Line.Same) {
		for i, l := range lines {
			if l != b.lines[i] {
				b.items[i].SetTitle(label(l.Text))
				enable(b.items[i], l.Enabled)
			}
		}
	} else {
		b.build(lines)
	}
	b.lines = lines
	icon, tooltip := tray.IconFor(s), tray.Tooltip(s)
	if icon != b.icon || tooltip != b.tooltip {
		systray.SetTemplateIcon(icon.PNG(true), icon.PNG(false))
		systray.SetTooltip(tooltip)
		b.icon, b.tooltip = icon, tooltip
	}
}

// build makes the menu anew.
func (b *bar) build(lines []tray.Line) {
	systray.ResetMenu()
	b.items = make([]*systray.MenuItem, len(lines))
	for i, l := range lines {
		if l == (tray.Line{}) {
			systray.AddSeparator()
			continue
		}
		item := systray.AddMenuItem(label(l.Text), "")
		enable(item, l.Enabled)
		b.items[i] = item
		go func() {
			for range item.ClickedCh { // until the item is removed
				b.clicked <- l
			}
		}()
	}
}

func enable(item *systray.MenuItem, enabled bool) {
	switch {
	case enabled == !item.Disabled():
	case enabled:
		item.Enable()
	default:
		item.Disable()
	}
}

// label is a text as the desktop draws it. On Linux an underscore marks the key that
// chooses the item, and two are one (com.canonical.dbusmenu).
func label(text string) string {
	if runtime.GOOS == "linux" {
		return strings.ReplaceAll(text, "_", "__")
	}
	return text
}
