package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"vmux/internal/sshd"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// patience bounds every wait: a test machine may be busy, a hang must not last.
const patience = 60 * time.Second

// TestScripts runs testdata/script: one script for each promise of the command
// line, with a real agent on a computer and a real phone. The commands that the
// scripts have beside those of testscript:
//
//	computer ARGS…      run `vmux ARGS…` on the computer; a failure ends the script, unless it is expected by `!`
//	phone ARGS…         run `vmux phone ARGS…` on the phone
//	exits N COMMAND…    run a computer or phone command that must end with that exit status
//	start NAME ARGS…    start `computer agent …` or `phone run …`; it ends with the script
//	end NAME            end it, as a service manager would
//	pair                pair the two; INVITATION is what was used
//	take NAME REGEXP    set the variable to what the last standard output has there
//	waitfor REGEXP COMMAND…   repeat a command until it prints that
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(built)+":"+e.Getenv("PATH")+":/usr/sbin:/sbin")
			e.Setenv("HOME", filepath.Join(e.WorkDir, ".home")) // PuTTY's programs make one that is not there
			port, err := sshd.FreePort()
			if err != nil {
				return err
			}
			e.Setenv("PORT", strconv.Itoa(port)) // that nobody listens at yet
			e.Values["actors"] = &actors{running: map[string]*process{}}
			return os.WriteFile(filepath.Join(e.WorkDir, "passphrase"), []byte("correct horse battery staple\n"), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"computer": func(ts *testscript.TestScript, neg bool, args []string) { expect(ts, neg, actor(ts, "computer", args)) },
			"phone":    func(ts *testscript.TestScript, neg bool, args []string) { expect(ts, neg, actor(ts, "phone", args)) },
			"exits":    cmdExits,
			"start":    cmdStart,
			"end":      cmdEnd,
			"pair":     cmdPair,
			"waitfor":  cmdWaitFor,
			"take":     cmdTake,
		},
	})
}

type actors struct {
	running map[string]*process
}

type process struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
	once   sync.Once
}

func (p *process) stop(ts *testscript.TestScript) {
	p.once.Do(func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.exited:
		case <-time.After(patience):
			ts.Logf("%v does not end on SIGTERM", p.cmd.Args)
			p.cmd.Process.Kill()
			<-p.exited
		}
	})
}

func expect(ts *testscript.TestScript, neg bool, err error) {
	if neg && err == nil {
		ts.Fatalf("it succeeded")
	}
	if !neg && err != nil {
		ts.Fatalf("%v", err)
	}
}

// enter makes the commands that follow the actor's own, and returns the
// arguments of vmux.
func enter(ts *testscript.TestScript, name string, args []string) []string {
	if name != "computer" && name != "phone" {
		ts.Fatalf("no actor %q", name)
	}
	home := ts.MkAbs(name)
	ts.Check(os.MkdirAll(home, 0o700))
	ts.Setenv("VMUX_HOME", home)
	if name == "phone" {
		return append([]string{"phone"}, args...)
	}
	return args
}

func actor(ts *testscript.TestScript, name string, args []string) error {
	if name == "exec" { // so that waitfor can wait for any program
		return ts.Exec(args[0], args[1:]...)
	}
	return ts.Exec("vmux", enter(ts, name, args)...)
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = actor(ts, args[1], args[2:])
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if (got == want) == neg {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func cmdStart(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	p := &process{cmd: program(ts, enter(ts, name, args[1:])...), log: ts.MkAbs(name + ".log"), exited: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer out.Close()
	p.cmd.Stdout, p.cmd.Stderr = out, out
	before := len(ts.ReadFile(p.log))
	ts.Check(p.cmd.Start())
	go func() { p.cmd.Wait(); close(p.exited) }()
	ts.Value("actors").(*actors).running[name] = p
	ts.Defer(func() { p.stop(ts) })
	if name == "phone" { // a computer that is paired is told where it listens
		waitFor(ts, "the phone to listen", func() bool { return strings.Contains(ts.ReadFile(p.log)[before:], "listening on ") })
	}
}

func cmdEnd(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("actors").(*actors).running[args[0]].stop(ts)
}

// program is vmux with the script's environment.
func program(ts *testscript.TestScript, args ...string) *exec.Cmd {
	cmd := exec.Command(built, args...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "VMUX_HOME"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	return cmd
}

// cmdPair reads the invitation of `vmux pair --json` and hands it to the phone.
func cmdPair(ts *testscript.TestScript, _ bool, _ []string) {
	cmd := program(ts, enter(ts, "computer", []string{"pair", "--json", "--address", "127.0.0.1"})...)
	cmd.Env = append(cmd.Env, "VMUX_HOME="+ts.MkAbs("computer"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	lines := json.NewDecoder(stdout)
	var line pairAnswer
	if err := lines.Decode(&line); err != nil {
		ts.Fatalf("vmux pair: %v: %s", err, &stderr)
	}
	ts.Setenv("INVITATION", line.Invitation)
	enter(ts, "phone", nil)
	redeem := program(ts, "phone", "pair", "-")
	redeem.Stdin = strings.NewReader(line.Invitation + "\n")
	if out, err := redeem.CombinedOutput(); err != nil {
		ts.Fatalf("vmux phone pair: %v: %s", err, out)
	}
	if err := lines.Decode(&line); err != nil || line.Paired == nil {
		ts.Fatalf("vmux pair: %v: %s", err, &stderr)
	}
	if rest, err := io.ReadAll(io.MultiReader(lines.Buffered(), stdout)); err != nil || len(bytes.TrimSpace(rest)) > 0 {
		ts.Fatalf("vmux pair printed more than two answers: %q, %v", rest, err)
	}
}

func cmdWaitFor(ts *testscript.TestScript, _ bool, args []string) {
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	waitFor(ts, fmt.Sprintf("%s in %v", args[0], args[1:]), func() bool {
		err := actor(ts, args[1], args[2:])
		away := args[1] == "computer" && args[2] == "status" && exitStatus(err) == wire.ExitNotReachable
		return (err == nil || away) && want.MatchString(ts.ReadFile("stdout")+ts.ReadFile("stderr"))
	})
}

func exitStatus(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}

func cmdTake(ts *testscript.TestScript, _ bool, args []string) {
	found := regexp.MustCompile(args[1]).FindString(ts.ReadFile("stdout"))
	if found == "" {
		ts.Fatalf("no %s in the output", args[1])
	}
	ts.Setenv(args[0], found)
}

// waitFor waits for what nothing announces.
var waitFor = testkit.WaitFor
