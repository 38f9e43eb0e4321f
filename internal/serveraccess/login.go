package serveraccess

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"vmux/internal/wire"
)

// Identity is what a new login is to be made with.
type Identity struct {
	Line        string // as ssh-add -L prints it
	Fingerprint string // of the key, or of the certificate's key
	Agent       string // socket of the agent that signs
}

// starting is how long a daemon may take to listen again after it was reloaded.
const starting = 10 * time.Second

// LogIn makes a new login, beside the open one, with that identity and nothing else, or
// with whatever there is for the zero value.
func (c *Connection) LogIn(ctx context.Context, id Identity) error {
	for until := time.Now().Add(starting); ; {
		err := c.logIn(ctx, id)
		if err == nil || !errors.Is(err, errRefused) || time.Now().After(until) {
			return err
		}
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var errRefused = errors.New("the server takes no connections")

func (c *Connection) logIn(ctx context.Context, id Identity) error {
	c.logins++
	log := c.path(fmt.Sprintf("login.%d", c.logins))
	args := []string{"-v", "-E", log, "-T", "-o", "ControlMaster=no", "-o", "ControlPath=none"}
	if id.Line != "" {
		file := c.path("identity.pub")
		if err := os.WriteFile(file, []byte(id.Line+"\n"), 0o600); err != nil {
			return err
		}
		args = append(args, "-o", "IdentityAgent="+id.Agent, "-o", "IdentitiesOnly=yes", "-i", file)
		// Where a password is wanted after the key, ssh may ask for it.
		if first, err := os.ReadFile(c.path("log")); err != nil || !strings.Contains(string(first), "with partial success") {
			args = append(args, "-o", "PreferredAuthentications=publickey")
		}
	}
	cmd := c.run(ctx, args, "true")
	words, err := os.Create(c.path("words"))
	if err != nil {
		return err
	}
	defer words.Close()
	cmd.Stdout, cmd.Stderr = words, words // files: a ProxyCommand would hold a pipe open
	err = cmd.Run()
	said, readErr := os.ReadFile(log)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	taken, in := Accepted(string(said))
	last := ""
	if len(taken) > 0 {
		last = taken[len(taken)-1]
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !in && strings.Contains(string(said), "Connection refused"):
		return errRefused
	case id.Line != "" && slices.Contains(taken, id.Fingerprint) && (!in || last != id.Fingerprint):
		return wire.WithHint(errors.New("the server takes the key, and nobody signed"), "vmux status")
	case !in && id.Line != "":
		return fmt.Errorf("the server does not take it: %s", LastWords(string(said)))
	case !in:
		return errors.New(LastWords(string(said)))
	case id.Line != "" && last != id.Fingerprint:
		return errors.New("the server takes another key, and not this one")
	}
	return nil // whatever `true` is there
}

// Accepted are the fingerprints of the keys that the server took, as ssh -v tells, for the
// last of which somebody signed if the login succeeded (sshconnect2.c, input_userauth_pk_ok).
func Accepted(log string) (fingerprints []string, in bool) {
	for line := range strings.Lines(log) {
		if _, key, ok := strings.Cut(line, "Server accepts key: "); ok && !in {
			for _, word := range strings.Fields(key) {
				if strings.HasPrefix(word, "SHA256:") {
					fingerprints = append(fingerprints, word)
				}
			}
		}
		in = in || strings.HasPrefix(strings.TrimPrefix(line, "debug1: "), "Authenticated to ")
	}
	return fingerprints, in
}
