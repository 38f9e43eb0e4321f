package serveraccess

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmux/internal/sshdtest"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// attacker: a server whose names move the terminal's cursor, or are commands for who copies
// the line that is missing.
func TestVerdictsAreFitToBeShown(t *testing.T) {
	const evil = "/etc/\x1b[2J\u202e;id>&2\n#/x"
	facts := Facts{Software: "OpenSSH_9.2p1", Account: evil, ConfigFile: evil, KeysFile: evil, Loose: []string{evil}, Config: map[string]string{}}
	ca := Candidate{Line: newKey, CA: true, Principals: []string{"ada"}}
	facts.Keys = appendEntry(nil, newKey)
	withCA := facts
	withCA.Config = map[string]string{"trustedusercakeys": evil}
	withCA.CAs = facts.Keys
	for _, v := range []Verdict{facts.Judge(Candidate{Line: newKey}), facts.Judge(ca), withCA.Judge(ca)} {
		if v.Works || !wire.Printable(v.Missing) {
			t.Errorf("%+v", v)
		}
		if strings.HasPrefix(v.Missing, "chmod") && !strings.HasPrefix(v.Missing, "chmod go-w '") {
			t.Errorf("two commands: %s", v.Missing)
		}
	}
}

// attacker: a server that never ends to write. Others answer with a menu that waits for a
// choice, by a program that reads no end of its input. Nobody waits for them for ever.
func TestServerThatNeverAnswers(t *testing.T) {
	for name, command := range map[string]string{"writes on": "yes", "a long line": "tr '\\0' x </dev/zero", "a menu": "cat >/dev/null", "deaf": "sleep 600"} {
		t.Run(name, func(t *testing.T) {
			if name == "deaf" {
				lookTime = 3 * time.Second
				t.Cleanup(func() { lookTime = 5 * time.Minute })
			}
			s := start(t, sshdtest.Old(t), "ForceCommand "+command)
			ctx := s.deadline()
			c, err := Open(ctx, Options{Host: sshdtest.Host, Program: s.ssh})
			if c != nil {
				defer c.Close()
			}
			if ctx.Err() != nil || !errors.Is(err, errNoShell) || err.Error() != errNoShell.Error() {
				t.Errorf("%v, %v", err, ctx.Err())
			}
		})
	}
}

// ssh that asks for a password has the terminal without echo: it is told to end, so that
// it can put that back.
func TestAskingIsEndedGently(t *testing.T) {
	dir := t.TempDir()
	program, asks, echo := filepath.Join(dir, "ssh"), filepath.Join(dir, "asks"), filepath.Join(dir, "echo")
	script := "#!/bin/sh\ntrap 'echo on >" + echo + "; kill $!; exit 1' TERM\nsleep 600 & echo >" + asks + "\nwait\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		c := &Connection{Options: Options{Host: "host", Program: program, In: os.Stdin}, dir: dir}
		ended <- c.run(ctx, nil).Run()
	}()
	testkit.WaitFor(t, "it asks", func() bool { _, err := os.Stat(asks); return err == nil })
	cancel()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(echo); err != nil {
		t.Error("it was killed while it asked")
	}
}
