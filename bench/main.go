// Bench measures vmux side by side with OpenSSH's ssh-agent and with a plain Go
// agent, and prints a table of ratios, each row as soon as it is measured: `make
// bench`, or `go run ./bench`. The variants are interleaved round by round, since
// machines have good and bad seconds. Absolute times are printed, but only ratios are
// judged.
//
// It is no test: it fails when it cannot measure, not when a target is missed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

// limit ends a run that hangs. An ordinary one takes some ten minutes.
const limit = 20 * time.Minute

// roles are what this program runs itself as: agents on a socket.
var roles = map[string]func(socket string) error{
	"plain-agent":  plainAgent,
	"socket-alone": serveAlone,
	"hub":          hubRole(false, false),
	"hub-nats":     hubRole(true, false),
	"hub-cluster":  hubRole(false, true),
	"hub-tls":      serveTLS,
	"tcp-relay":    relayTCP,
	"nats-server":  serveNATS,
}

func main() {
	if len(os.Args) == 3 && roles[os.Args[1]] != nil {
		fmt.Fprintln(os.Stderr, roles[os.Args[1]](os.Args[2]))
		os.Exit(1)
	}
	var o options
	flag.BoolVar(&o.quick, "quick", false, "measure briefly: shows that everything runs, no more")
	flag.StringVar(&o.program, "vmux", "bin/vmux", "the vmux `program` to measure")
	flag.BoolVar(&o.alone, "alone", false, "measure the socket server without agent and phone")
	flag.StringVar(&o.only, "only", "", "measure only what has this `word` in its name: memory, signatures, logins, forwarded, wait, link, hub, phone, start, size")
	flag.Parse()
	if flag.NArg() != 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	program      string
	only         string // part of the name of a step; empty: all
	quick, alone bool
}

// run measures everything. What it started is ended whatever happens.
func run(out io.Writer, o options) (err error) {
	if _, err := os.Stat(o.program); err != nil && !o.alone {
		return fmt.Errorf("%w: run make build", err)
	}
	s := &scope{}
	defer func() { err = errors.Join(err, s.end()) }()
	late := time.AfterFunc(limit, func() {
		s.end()
		fmt.Fprintln(os.Stderr, "bench: not done after", limit)
		os.Exit(1)
	})
	defer late.Stop()
	return s.catch(func() {
		t := newTable(out)
		newBench(s, o, t).measureAll()
		t.end()
	})
}
