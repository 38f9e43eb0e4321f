package serveraccess

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vmux/internal/sshconfig"
	"vmux/internal/wire"
)

//go:embed remote.sh
var remoteScript string

// maxAnswer bounds what is read of a server's answer, in bytes.
const maxAnswer = 4 << 20

// lookTime is how long it may take to log in and to look: a person has 140 s to approve,
// and what answers there may be a menu that waits for a choice for ever.
var lookTime = 5 * time.Minute

// ending is how long ssh may take to end once nothing more is expected of it. It would
// not, where the server goes on to write what nobody reads.
const ending = 5 * time.Second

// Options say how a server is reached.
type Options struct {
	Host string // as it is written behind ssh
	// Program is the ssh that is run; "" is the one on the PATH.
	Program string
	// In and Out are the terminal, at which ssh by itself, and sudo, may ask the person; nil:
	// there is none, and whatever would ask fails.
	In, Out *os.File
}

// Connection is a login that is kept open: an ssh of our own in the background
// (ControlMaster), with its socket in a folder that nobody else may enter.
type Connection struct {
	Options
	Facts

	dir      string
	sessions []string // see Sessions
	logins   int
}

// Open logs in as the person would, and looks at the server. A server that lets nobody
// in is returned, too, with what it showed before that.
func Open(ctx context.Context, o Options) (*Connection, error) {
	dir, err := makeFolder()
	if err != nil {
		return nil, err
	}
	c := &Connection{Options: o, dir: dir, sessions: Sessions(ctx, o.Program, o.Host)}
	// It ends by itself soon after the last session, if this program is killed.
	lines, err := c.ask(ctx, "look", nil, "-v", "-E", c.path("log"), "-o", "ControlMaster=yes", "-o", "ControlPersist=20")
	log, readErr := os.ReadFile(c.path("log"))
	if readErr != nil && err == nil {
		err = readErr
	}
	c.readLog(string(log))
	if err != nil {
		if c.Windows() {
			err = wire.WithHint(errors.New("servers with Windows are not supported"), "append the line of ssh-add -L to the account's authorized_keys there")
		} else if reason := LastWords(string(log)); reason != "" && !strings.Contains(string(log), "Authenticated to ") {
			err = errors.New(reason)
		}
		return c, err
	}
	c.read(lines)
	return c, nil
}

// makeFolder makes the folder of the login, whose socket has a path of 103 bytes at most
// (macOS), to which ssh adds 17 while it makes it: $TMPDIR may be longer, or gone.
func makeFolder() (string, error) {
	const name, longest = "vmux-ssh-", 103 - len("/c") - 17
	dir, err := os.MkdirTemp("", name)
	if err == nil && len(dir) <= longest {
		return dir, nil
	}
	if err == nil {
		os.Remove(dir)
	}
	return os.MkdirTemp("/tmp", name)
}

// Close ends the login.
func (c *Connection) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = c.command(ctx, "-O", "exit").Run() // it may have ended by itself
	os.RemoveAll(c.dir)
}

func (c *Connection) path(name string) string { return filepath.Join(c.dir, name) }

// command is `ssh ARGS… HOST`, over the open login if there is one. What stands in ssh's
// configuration for sessions with a terminal, or for tunnels, is left out.
func (c *Connection) command(ctx context.Context, args ...string) *exec.Cmd {
	return c.run(ctx, append([]string{"-o", "ControlPath=" + c.path("c"), "-o", "RequestTTY=no"}, args...))
}

func (c *Connection) run(ctx context.Context, args []string, remote ...string) *exec.Cmd {
	args = append(args, "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes", "-o", "ForwardAgent=no",
		"-o", "PermitLocalCommand=no", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3")
	args = append(args, c.sessions...)
	if c.In == nil {
		args = append(args, "-o", "BatchMode=yes")
	}
	cmd := exec.CommandContext(ctx, cmp.Or(c.Program, "ssh"), append(append(args, "--", c.Host), remote...)...)
	// ssh may be asking for a password, and then gives the terminal its echo back.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// Sessions are sshconfig.Sessions for a host; "" is the ssh on the PATH.
func Sessions(ctx context.Context, program, host string) []string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ssh := exec.CommandContext(ctx, cmp.Or(program, "ssh"), "-G", "--", host)
	ssh.WaitDelay = time.Second // what a Match runs may go on
	printed, _ := ssh.Output()  // what is wrong it says when it is to log in
	return sshconfig.Sessions(string(printed))
}

// session is remote.sh on the server.
type session struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	mark  string
	words *os.File // what ssh and the login say
	stop  func()   // ends ssh
}

// begin starts remote.sh with a person's login shell, whichever that is: a word, and one
// in plain quotes. The script comes by standard input, of which the rest is read later.
func (c *Connection) begin(ctx context.Context, act string, set map[string]string, args ...string) (*session, error) {
	ctx, stop := context.WithCancel(ctx)
	s := &session{mark: rand.Text(), stop: stop}
	var script strings.Builder
	fmt.Fprintf(&script, "mark=%s act=%s\n", s.mark, act)
	for name, value := range set {
		fmt.Fprintf(&script, "%s=%s\n", name, quoted(value))
	}
	script.WriteString(remoteScript)
	words, err := os.Create(c.path("words"))
	if err != nil {
		stop()
		return nil, err
	}
	s.words = words
	remote := "sh -c 'code=$(dd bs=1 count=" + strconv.Itoa(script.Len()) + " 2>/dev/null); eval \"$code\"'"
	s.cmd = c.run(ctx, append([]string{"-o", "ControlPath=" + c.path("c"), "-o", "RequestTTY=no"}, args...), remote)
	s.cmd.Stderr = words // a file: a ProxyCommand would hold a pipe open
	if s.in, err = s.cmd.StdinPipe(); err == nil {
		var out io.Reader
		if out, err = s.cmd.StdoutPipe(); err == nil {
			s.out = bufio.NewScanner(io.LimitReader(out, maxAnswer))
			s.out.Buffer(nil, 1<<20)
			err = s.cmd.Start()
		}
	}
	if err != nil {
		stop()
		words.Close()
		return nil, fmt.Errorf("run ssh: %w", err)
	}
	if _, err := io.WriteString(s.in, script.String()); err != nil {
		return nil, s.fail(fmt.Errorf("ssh ended: %w", err))
	}
	return s, nil
}

// next returns the next line of the answer; "" at its end.
func (s *session) next() string {
	for s.out.Scan() {
		if line, ok := strings.CutPrefix(s.out.Text(), s.mark+" "); ok {
			return strings.TrimRight(line, "\r")
		}
	}
	return ""
}

// end ends the session.
func (s *session) end() error {
	defer time.AfterFunc(ending, s.stop).Stop()
	s.in.Close()
	for s.out.Scan() { // or ssh would wait to write
	}
	s.words.Close()
	return s.cmd.Wait()
}

// fail ends a session whose answer broke off: ssh, or the login, may have said why.
func (s *session) fail(err error) error {
	ended := s.end()
	if _, status := errors.AsType[*exec.ExitError](ended); !status { // which says no more
		err = errors.Join(err, ended)
	}
	if text, readErr := os.ReadFile(s.words.Name()); readErr == nil && LastWords(string(text)) != "" {
		return errors.New(LastWords(string(text)))
	}
	return err
}

var errNoShell = errors.New("no shell of the account answers there")

// ask has remote.sh answer, and nothing else.
func (c *Connection) ask(ctx context.Context, act string, set map[string]string, args ...string) (lines []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	s, err := c.begin(ctx, act, set, args...)
	if err != nil {
		return nil, err
	}
	s.in.Close() // what is no shell ends then, too
	for line := s.next(); line != ""; line = s.next() {
		if line == "end look" {
			return lines, s.end()
		}
		lines = append(lines, line)
	}
	return nil, s.fail(errNoShell)
}

// LastWords is the last thing that ssh said which is no debugging, fit to
// be shown.
func LastWords(log string) (last string) {
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "debug") && !strings.HasPrefix(line, "OpenSSH_") &&
			!strings.HasPrefix(line, "Warning: ") && !strings.HasPrefix(line, "Authenticated to ") && !strings.HasPrefix(line, "Transferred: ") && !strings.HasPrefix(line, "Bytes per second: ") {
			last = line
		}
	}
	return wire.Show(last)
}

// readLog reads what ssh -v tells of a server (OpenSSH 8.5 to 10.6, kex.c, sshconnect.c).
func (f *Facts) readLog(log string) {
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if _, software, ok := strings.Cut(line, "remote software version "); ok {
			f.Software = wire.Show(software)
		}
		if _, list, ok := strings.Cut(line, "server-sig-algs=<"); ok {
			f.Algorithms = strings.Split(strings.TrimSuffix(list, ">"), ",")
		}
		if _, key, ok := strings.Cut(line, "Server host key: "); ok {
			_, f.HostKey, _ = strings.Cut(key, " ")
		}
	}
}

// word quotes what a shell would not take as one word.
func word(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("/._-", r) && (r > 'z' || r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a')
	}) {
		return quoted(s)
	}
	return s
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
