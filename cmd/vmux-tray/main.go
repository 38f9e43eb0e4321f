// Command vmux-tray shows the agent in the menu bar or tray, and does what is chosen in its
// menu. It knows the agent by its control socket only, and nothing in it can approve: what
// it shows and in which order is decided in internal/tray.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"vmux/internal/control"
	"vmux/internal/errorstream"
	"vmux/internal/pairpage"
	"vmux/internal/state"
	"vmux/internal/wire"
)

const usage = `Shows the agent in the menu bar or tray, until Quit is chosen there.

Usage:
  vmux-tray          show it
  vmux-tray --pair   invite a phone, by a page in the browser, and nothing else

`

func main() {
	errs := errorstream.New(os.Stderr)
	status := run(os.Args[1:], errs)
	errs.Close()
	os.Exit(status)
}

// run is the whole program but for its end.
func run(args []string, errs io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	flags := flag.NewFlagSet("vmux-tray", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.Usage = func() { fmt.Fprint(errs, usage); flags.PrintDefaults() }
	pair := flags.Bool("pair", false, "invite a phone, by a page in the browser, and end with the pairing")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return wire.ExitDone
	} else if err != nil || flags.NArg() > 0 {
		fmt.Fprintln(errs, "hint: vmux-tray --help")
		return wire.ExitUsage
	}
	home, err := state.Find()
	if err != nil {
		return fail(errs, err)
	}
	path, err := home.ControlSocket()
	agent := control.NewClient(path, err)
	if *pair {
		phone, err := pairpage.Show(ctx, agent.Pair, openURL)
		if err != nil {
			return fail(errs, err)
		}
		fmt.Fprintln(errs, "vmux-tray: paired with", wire.Show(phone.Name))
		return wire.ExitDone
	}
	if err := showIn(ctx, agent, slog.New(slog.NewTextHandler(errs, nil))); err != nil {
		return fail(errs, err)
	}
	return wire.ExitDone
}

// fail says what went wrong and what to do, and returns the exit status.
func fail(errs io.Writer, err error) int {
	if errors.Is(err, control.ErrNotRunning) {
		err = wire.WithHint(err, "start it: vmux agent")
	}
	fmt.Fprintln(errs, "vmux-tray:", err)
	if hint := hintOf(err); hint != "" {
		fmt.Fprintln(errs, "hint:", hint)
	}
	return wire.MeaningOf(wire.CodeOf(err)).Exit
}

// hintOf is what the agent or this program advises.
func hintOf(err error) string {
	var told *control.Error
	if errors.As(err, &told) {
		return told.Hint
	}
	return wire.HintOf(err)
}
