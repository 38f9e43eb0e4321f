// Command vmux is the whole product but for the hub: the agent on the computer,
// the native phone, and the commands that talk to both. The commands are in
// internal/cli; main is the one place where the process ends.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"vmux/internal/cli"
	"vmux/internal/cli/command"
)

func main() {
	os.Exit(run())
}

// run keeps deferred clean-up out of main, which ends without any.
func run() int {
	signals := []os.Signal{syscall.SIGTERM}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as nohup and a shell's & have it
			signals = append(signals, s)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	return cli.Run(ctx, os.Args[1:], &command.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}
