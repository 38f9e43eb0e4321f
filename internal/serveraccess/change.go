package serveraccess

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"vmux/internal/wire"
)

// patience is how long a server waits for the word that a new login worked before it
// takes a change back by itself: a person is asked meanwhile.
var patience = 5 * time.Minute

// Act is what is changed on a server.
type Act string

// The acts; the CA's are root's.
const (
	PutKey  Act = "put-key"
	TakeKey Act = "take-key"
	PutCA   Act = "put-ca"
	TakeCA  Act = "take-ca"
)

// Change is a line that is put into a file of a server, or taken out.
type Change struct {
	Act  Act
	Line string
	// Put is how it was put in; zero if nothing is known of that.
	Put Placed
}

// Placed is what was put where.
type Placed struct {
	File      string `json:"file"`
	Directive string `json:"directive,omitempty"` // file of sshd's configuration that names File
	Newline   bool   `json:"newline,omitempty"`   // an end of line was put before it, too
	Made      bool   `json:"made,omitempty"`      // the file was made
	Folder    string `json:"folder,omitempty"`    // was made for it
}

// Result is what came of a change.
type Result struct {
	Placed
	// Already: it stood there, so that nothing was put in. Absent and Changed: nothing was
	// taken out, since it is not there, or is not what was put in.
	Already, Absent, Changed bool
	// Kept is a directive that stays, since it is not what was put in.
	Kept string
	// Still is a file in which the key stands all the same, in another line.
	Still string
}

// Apply makes a change, has confirm show that it does no harm, and keeps it; or the
// server takes it back. keep is called before the server is told to keep it.
func (c *Connection) Apply(ctx context.Context, change Change, confirm func(context.Context, Result) error, keep func(Result) error) (Result, error) {
	yes := map[bool]string{true: "yes", false: "no"}
	s, err := c.begin(ctx, string(change.Act), map[string]string{
		"line": change.Line, "blob": blobOf(change.Line), "patience": strconv.Itoa(int(patience / time.Second)),
		"newline": yes[change.Put.Newline], "made": yes[change.Put.Made], "folder": change.Put.Folder,
	}, "-o", "ControlMaster=no")
	if err != nil {
		return Result{}, err
	}
	var r Result
	switch err := c.readResult(ctx, s, &r); {
	case errors.Is(err, errNoShell):
		return r, s.fail(err)
	case err != nil:
		_ = s.end() // its status says no more
		return r, err
	}
	reason := confirm(ctx, r)
	if reason == nil {
		reason = keep(r)
	}
	word, want := "keep", "end kept"
	if reason != nil {
		word, want = "back", "end back"
	}
	if _, err := fmt.Fprintln(s.in, word); err != nil {
		return r, s.lost(errors.Join(reason, err))
	}
	got := s.next()
	_ = s.end() // its status says no more
	file, left := strings.CutPrefix(got, "end left ")
	switch {
	case got == want:
		return r, reason
	case left:
		return r, fmt.Errorf("%w; somebody changed %s meanwhile, and so that was not taken back", reason, wire.Show(file))
	case got == "end back": // it did not hear in time
		return r, errors.New("the server has taken it back: it waited too long")
	}
	return r, s.lost(reason)
}

// blobOf is the key in a line, in base64.
func blobOf(line string) string {
	for _, word := range strings.Fields(line) {
		if strings.HasPrefix(word, "AAAA") {
			return word
		}
	}
	return line
}

// lost is that the connection ended before the server said what it had done.
func (s *session) lost(reason error) error {
	return errors.Join(reason, errors.New("the connection was lost: the server takes back what was not kept"))
}

// readResult reads up to the moment at which the server waits, or why it refused.
func (c *Connection) readResult(ctx context.Context, s *session, r *Result) error {
	var refused, said error
	for line := s.next(); line != ""; line = s.next() {
		word, value, _ := strings.Cut(line, " ")
		switch word {
		case "password":
			said = c.asRoot(ctx, value)
			if _, err := fmt.Fprintln(s.in, "go"); err != nil {
				return s.lost(err)
			}
		case "refused":
			refused = c.refusal(value)
		case "error":
			if value != "" {
				said = errors.New(wire.Show(value))
			}
		case "file":
			r.File = value
		case "directive":
			r.Directive = value
		case "newline":
			r.Newline = value == "yes"
		case "made":
			r.Made = value == "yes"
		case "folder":
			r.Folder = value
		case "already":
			r.Already = true
		case "absent":
			r.Absent = true
		case "changed":
			r.Changed = true
		case "kept":
			r.Kept = value
		case "still":
			r.Still = value
		case "waiting":
			return nil
		case "end":
			if refused == nil {
				refused = errors.Join(errors.New("nothing was changed"), said)
			}
			return refused
		}
	}
	return errNoShell
}

// asRoot has sudo ask for the password at the person's own terminal.
func (c *Connection) asRoot(ctx context.Context, script string) error {
	if c.In == nil {
		return wire.WithHint(errors.New("sudo wants a password there, and there is no terminal to ask at"), "run this in a terminal")
	}
	cmd := c.run(ctx, []string{"-o", "ControlMaster=no", "-o", "ControlPath=" + c.path("c"), "-o", "LogLevel=ERROR", "-tt"}, "sh", script)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.In, c.Out, c.Out
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("sudo ended with status %d there", exit.ExitCode())
	}
	return err
}

// refusal is why a server did not do it; everything there is as it was.
func (c *Connection) refusal(value string) error {
	word, rest, _ := strings.Cut(value, " ")
	rest = wire.Show(rest)
	switch word {
	case "broken":
		return wire.WithHint(fmt.Errorf("sshd's configuration there is broken already, so that nothing was changed: %s", rest), "on "+c.Host+", as root: sshd -t")
	case "broken-by-us":
		return fmt.Errorf("sshd does not take the line, which was taken out again: %s", rest)
	case "no-effect":
		return fmt.Errorf("%s says otherwise for this account, so that the line was taken out again", rest)
	case "not-reloaded":
		return errors.New("sshd did not go on after it had read its configuration, so that all was taken back")
	case "unwritable":
		return fmt.Errorf("%s cannot be written there", rest)
	case "no-file":
		return errors.New("sshd reads no authorized_keys there (AuthorizedKeysFile none)")
	case "everybody":
		return wire.WithHint(fmt.Errorf("sshd reads the account's keys from %s, which may be a file of all accounts: the key could log in to each of them, and was not put there", rest),
			"if it is this account's alone, add the line of ssh-add -L to it; else, in sshd's configuration there: AuthorizedKeysFile "+rest+" .ssh/authorized_keys")
	case "no-sudo":
		return wire.WithHint(errors.New("only root may change sshd's configuration, and there is no sudo"), "vmux server trust --ca root@"+c.Host[strings.LastIndexByte(c.Host, '@')+1:])
	case "no-sshd":
		return errors.New("the server is no sshd of OpenSSH")
	}
	return fmt.Errorf("the server refused: %s", wire.Show(value))
}
