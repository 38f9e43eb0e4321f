package serveraccess

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vmux/internal/sshdtest"
	"vmux/internal/testkit"
)

// server is a real sshd, and an account there with an old key that lets in already.
type server struct {
	*testing.T
	*sshdtest.Server
	dir, ssh string // the home folder on the server; the person's ssh
	keys     string // authorized_keys
}

// start runs a server. Of extra, a line with %s gets the server's home folder.
func start(t *testing.T, o sshdtest.OpenSSH, extra ...string) *server {
	t.Helper()
	s := &server{T: t, dir: t.TempDir()}
	old := filepath.Join(t.TempDir(), "old")
	o.Keygen(t, "-q", "-t", "ed25519", "-N", "", "-C", "old", "-f", old)
	config := sshdtest.Config{}
	for _, line := range extra {
		config.Extra = append(config.Extra, strings.ReplaceAll(line, "%s", s.dir))
	}
	s.keys = filepath.Join(s.dir, ".ssh", "authorized_keys")
	oldKeys := filepath.Join(filepath.Dir(old), "keys")
	s.put(oldKeys, s.get(old+".pub"))
	config.Extra = append(config.Extra, "SetEnv HOME="+s.dir+" PATH="+s.dir+"/bin:/usr/bin:/bin", "AuthorizedKeysFile "+s.keys+" "+oldKeys)
	s.Server = o.StartServer(t, config)
	if os.Getuid() != 0 { // sshd is this user's, who is as good as root there
		s.program("bin/sudo", "#!/bin/sh\n[ \"$1\" != -n ] || shift\nexec \"$@\"\n")
	}
	s.ssh = s.program("ssh", fmt.Sprintf("#!/bin/sh\nexec %s -F %s -o IdentityFile=%s \"$@\"\n", o.SSH, s.ClientConfig(t, ""), old))
	return s
}

// program writes a script into the server's home folder.
func (s *server) program(name, text string) (path string) {
	s.Helper()
	path = filepath.Join(s.dir, name)
	s.put(path, text)
	if err := os.Chmod(path, 0o700); err != nil {
		s.Fatal(err)
	}
	return path
}

func (s *server) put(path, text string) {
	s.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// get is a file's text; "-" if there is none.
func (s *server) get(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "-"
	}
	return string(b)
}

func (s *server) open() *Connection {
	s.Helper()
	c, err := Open(s.deadline(), Options{Host: sshdtest.Host, Program: s.ssh})
	if err != nil {
		s.Fatalf("%v\n%s", err, s.Server.Log())
	}
	s.Cleanup(c.Close)
	return c
}

func (s *server) deadline() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	s.Cleanup(cancel)
	return ctx
}

func yes(context.Context, Result) error { return nil }
func noted(Result) error                { return nil }

func (s *server) apply(c *Connection, change Change) Result {
	s.Helper()
	r, err := c.Apply(s.deadline(), change, yes, noted)
	if err != nil {
		s.Fatalf("%s: %v", change.Act, err)
	}
	return r
}

const newKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJZ3dOUFLO2HYDF2Pz0TJpTzOdNOrBb8GgHNZpvJzVnD phone"

func both(t *testing.T, test func(t *testing.T, o sshdtest.OpenSSH)) {
	for _, o := range sshdtest.Both(t) {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			test(t, o)
		})
	}
}

// Whatever authorized_keys looked like, the line is in it on a line of its own, and
// afterwards all is as it was, byte for byte.
func TestKeyIsPutInAndTakenOut(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		s := start(t, o)
		c := s.open()
		ssh := filepath.Dir(s.keys)
		for name, before := range map[string]string{
			"no folder": "-", "empty": "", "a line": "# mine\n", "no end of line": "# mine", "an empty line": "\n",
			"CRLF": "# mine\r\n", "two ends": "# mine\n\n",
		} {
			if err := os.RemoveAll(ssh); err != nil {
				t.Fatal(err)
			}
			if before != "-" {
				s.put(s.keys, before)
			}
			r := s.apply(c, Change{Act: PutKey, Line: newKey})
			lines := strings.Split(s.get(s.keys), "\n")
			if !slices.Contains(lines, newKey) || r.File != s.keys || before != "-" && !strings.HasPrefix(s.get(s.keys), before) {
				t.Errorf("%s: %+v: %q", name, r, s.get(s.keys))
			}
			if info, err := os.Stat(s.keys); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v %v", name, info, err)
			}
			if again := s.apply(c, Change{Act: PutKey, Line: newKey}); !again.Already || strings.Count(s.get(s.keys), newKey) != 1 {
				t.Errorf("%s: again: %+v: %q", name, again, s.get(s.keys))
			}
			s.apply(c, Change{Act: TakeKey, Line: newKey, Put: r.Placed})
			if got := s.get(s.keys); got != before {
				t.Errorf("%s: afterwards %q, before %q", name, got, before)
			}
			if _, err := os.Stat(ssh); before == "-" && err == nil {
				t.Errorf("%s: the folder stays", name)
			}
			if gone := s.apply(c, Change{Act: TakeKey, Line: newKey}); !gone.Absent {
				t.Errorf("%s: taken twice: %+v", name, gone)
			}
		}
		// What came behind it since stays on lines of its own.
		s.put(s.keys, "# mine")
		r := s.apply(c, Change{Act: PutKey, Line: newKey})
		s.put(s.keys, s.get(s.keys)+"# later\n")
		s.apply(c, Change{Act: TakeKey, Line: newKey, Put: r.Placed})
		if got := s.get(s.keys); got != "# mine\n# later\n" {
			t.Errorf("with a later line: %q", got)
		}
		// What somebody has changed since stays.
		changed := "restrict " + newKey + "\n"
		s.put(s.keys, changed)
		if r := s.apply(c, Change{Act: TakeKey, Line: newKey}); !r.Changed || s.get(s.keys) != changed {
			t.Errorf("changed since: %+v: %q", r, s.get(s.keys))
		}
	})
}

// A symbolic link stays one, and a file that must not be written to stays as it is.
func TestLinksAndReadOnlyFiles(t *testing.T) {
	t.Parallel()
	s := start(t, sshdtest.Old(t))
	c := s.open()
	real := filepath.Join(s.dir, "dotfiles", "keys")
	s.put(real, "# mine\n")
	s.put(filepath.Join(s.dir, ".ssh", "x"), "")
	if err := os.Symlink("../dotfiles/keys", s.keys); err != nil {
		t.Fatal(err)
	}
	s.apply(c, Change{Act: PutKey, Line: newKey})
	if to, err := os.Readlink(s.keys); err != nil || to != "../dotfiles/keys" || s.get(real) != "# mine\n"+newKey+"\n" {
		t.Errorf("%q, %v: %q", to, err, s.get(real))
	}
	s.apply(c, Change{Act: TakeKey, Line: newKey})
	if s.get(real) != "# mine\n" {
		t.Errorf("%q", s.get(real))
	}
	if err := os.Chmod(real, 0o400); err != nil {
		t.Fatal(err)
	}
	_, err := c.Apply(s.deadline(), Change{Act: PutKey, Line: newKey}, yes, noted)
	if err == nil || !strings.Contains(err.Error(), "cannot be written") || s.get(real) != "# mine\n" {
		t.Errorf("%v: %q", err, s.get(real))
	}
}

// The login shell and sh may be any, and say what they like.
func TestShells(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ login, sh string }{
		"fish": {"fish", "dash"}, "csh": {"tcsh", "dash"}, "bash": {"bash", "bash"}, "mksh": {"mksh", "mksh"}, "busybox": {"busybox sh", "busybox"},
		"banner": {"echo welcome; echo oops >&2; sh", "dash"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, sshdtest.Old(t), "ForceCommand "+c.login+` -c "$SSH_ORIGINAL_COMMAND"`, "TrustedUserCAKeys none")
			applets := []string{"sh"}
			if c.sh == "busybox" {
				applets = strings.Fields("sh awk sed grep dd cat cmp cp mv rm tail wc tr find mktemp readlink dirname sleep rmdir mkdir id uname chmod ls")
			}
			program, err := exec.LookPath(c.sh)
			if err != nil {
				t.Fatalf("%v: run `make setup`", err)
			}
			s.put(filepath.Join(s.dir, "bin", "x"), "")
			for _, applet := range applets {
				if err := os.Symlink(program, filepath.Join(s.dir, "bin", applet)); err != nil {
					t.Fatal(err)
				}
			}
			conn := s.open()
			if conn.Account != s.User || conn.Facts.Config == nil {
				t.Errorf("%+v", conn.Facts)
			}
			s.put(s.keys, "# mine")
			config := s.get(s.Path("sshd_config"))
			for _, act := range []Act{PutKey, PutCA} {
				r := s.apply(conn, Change{Act: act, Line: newKey})
				if !strings.Contains(s.get(r.File), newKey+"\n") {
					t.Errorf("%s: %+v: %q", act, r, s.get(r.File))
				}
				s.apply(conn, Change{Act: map[Act]Act{PutKey: TakeKey, PutCA: TakeCA}[act], Line: newKey, Put: r.Placed})
			}
			if s.get(s.keys) != "# mine" || s.get(s.Path("sshd_config")) != config || s.get(s.Path("vmux_ca.pub")) != "-" {
				t.Errorf("afterwards: %q %q", s.get(s.keys), s.get(s.Path("sshd_config")))
			}
		})
	}
}

// Neither a temporary folder with a path too long for a socket nor one that is gone keeps
// anybody from a login.
func TestTemporaryFolder(t *testing.T) {
	s := start(t, sshdtest.Old(t), "TrustedUserCAKeys none")
	long := filepath.Join(s.dir, strings.Repeat("x", 90))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{long, long + "-gone"} {
		t.Setenv("TMPDIR", folder)
		if conn := s.open(); conn.Account != s.User {
			t.Errorf("%s: %+v", folder, conn.Facts)
		}
	}
}

// A CA is put into the file that there is, or into one of its own that sshd's
// configuration names; and all of it is taken out.
func TestCAIsPutInAndTakenOut(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		for name, c := range map[string]struct {
			extra     []string
			match     string // at the end of the configuration
			directive string // where; "": none is needed
		}{
			"at the top":       {[]string{"TrustedUserCAKeys none"}, "Match User nobody\n  TrustedUserCAKeys /nonexistent\nMatch Address 192.0.2.0/24\n  PubkeyAuthentication no\n", "sshd_config"},
			"in a folder":      {[]string{"Include %s/sshd_config.d/*.conf", "TrustedUserCAKeys none"}, "", "vmux_ca.conf"},
			"an idle Include":  {[]string{"TrustedUserCAKeys none", "Include %s/sshd_config.d/*.conf"}, "", "sshd_config"},
			"in the file":      {nil, "", ""},
			"in a missing one": {[]string{"TrustedUserCAKeys %s/cas"}, "", ""},
			"for this account": {nil, "Match User root,*\n  TrustedUserCAKeys " + "%s/cas\n", ""},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := start(t, o, c.extra...)
				s.put(filepath.Join(s.dir, "sshd_config.d", "other.conf"), "# nothing\n")
				s.put(s.Path("sshd_config"), s.get(s.Path("sshd_config"))+strings.ReplaceAll(c.match, "%s", s.dir))
				before := s.all()
				conn := s.open()
				r := s.apply(conn, Change{Act: PutCA, Line: newKey})
				if !strings.Contains(s.get(r.File), newKey+"\n") || (r.Directive == "") != (c.directive == "") || c.directive != "" && filepath.Base(r.Directive) != c.directive {
					t.Errorf("%+v: %q", r, s.get(r.File))
				}
				// A new connection, by the daemon that read it again.
				if again := s.open(); again.Facts.Config["trustedusercakeys"] != r.File || len(again.CAs) == 0 {
					t.Errorf("%v", again.Facts.Config["trustedusercakeys"])
				}
				if err := conn.LogIn(s.deadline(), Identity{}); err != nil {
					t.Errorf("a new login: %v", err)
				}
				s.apply(conn, Change{Act: TakeCA, Line: newKey, Put: r.Placed})
				if after := s.all(); after != before {
					t.Errorf("afterwards:\n%s\nbefore:\n%s", after, before)
				}
				if err := conn.LogIn(s.deadline(), Identity{}); err != nil {
					t.Errorf("a new login: %v", err)
				}
			})
		}
	})
}

// all are the files that sshd reads.
func (s *server) all() (text string) {
	for _, path := range []string{
		s.Path("sshd_config"), s.Path("vmux_ca.pub"), s.Path("trusted_user_ca_keys"), s.dir + "/cas", s.keys, s.dir + "/sshd_config.d/vmux_ca.conf",
	} {
		text += path + ":\n" + s.get(path) + "\n"
	}
	return text
}

// A configuration that is broken already is not touched; the daemon that runs goes on.
func TestBrokenConfigurationIsNotTouched(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		s := start(t, o, "TrustedUserCAKeys none")
		s.put(s.Path("sshd_config"), s.get(s.Path("sshd_config"))+"NoSuchWord yes\n")
		before := s.all()
		c := s.open()
		if c.Facts.Config != nil || !strings.Contains(c.ConfigError, "NoSuchWord") {
			t.Errorf("%+v", c.Facts)
		}
		_, err := c.Apply(s.deadline(), Change{Act: PutCA, Line: newKey}, yes, noted)
		if err == nil || !strings.Contains(err.Error(), "broken already") || !strings.Contains(err.Error(), "NoSuchWord") {
			t.Errorf("%v", err)
		}
		if s.all() != before {
			t.Errorf("changed:\n%s", s.all())
		}
		// A key needs no configuration.
		s.apply(c, Change{Act: PutKey, Line: newKey})
		if err := c.LogIn(s.deadline(), Identity{}); err != nil {
			t.Error(err)
		}
	})
}

// What a new login does not show to work is taken back, and so is what nobody keeps:
// when this program ends, when the connection is cut, and when nobody notices that.
func TestTakenBack(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		for _, act := range []Act{PutKey, PutCA, TakeKey, TakeCA} {
			t.Run(string(act), func(t *testing.T) {
				t.Parallel()
				s := start(t, o, "TrustedUserCAKeys none")
				c := s.open()
				s.put(s.keys, "# mine")
				change := Change{Act: act, Line: newKey}
				if act == TakeKey || act == TakeCA {
					change.Put = s.apply(c, Change{Act: map[Act]Act{TakeKey: PutKey, TakeCA: PutCA}[act], Line: newKey}).Placed
				}
				before := s.all()
				back := func(how string) {
					t.Helper()
					testkit.WaitFor(t, how+": all is as before", func() bool { return s.all() == before })
					// The daemon reads the file again a moment later, and takes no connection meanwhile.
					testkit.WaitFor(t, how+": a new login", func() bool {
						c, err := Open(s.deadline(), Options{Host: sshdtest.Host, Program: s.ssh})
						if c != nil {
							c.Close()
						}
						return err == nil
					})
				}
				changed := func() {
					t.Helper()
					if s.all() == before {
						t.Error("nothing was changed")
					}
				}
				no := errors.New("no")
				if _, err := c.Apply(s.deadline(), change, func(context.Context, Result) error { changed(); return no }, noted); !errors.Is(err, no) {
					t.Errorf("%v", err)
				}
				back("it did not work")
				ctx, cancel := context.WithCancel(s.deadline())
				_, err := c.Apply(ctx, change, func(ctx context.Context, _ Result) error { changed(); cancel(); <-ctx.Done(); return ctx.Err() }, noted)
				if err == nil {
					t.Error("no error when this program ends")
				}
				back("this program ended")
				c = s.open()
				_, err = c.Apply(s.deadline(), change, func(context.Context, Result) error { changed(); c.Close(); return nil }, noted)
				if err == nil {
					t.Error("no error though the connection was cut")
				}
				back("the connection was cut")
			})
		}
	})
}

// A daemon that has ended is started again.
func TestDaemonIsStartedAgain(t *testing.T) {
	t.Parallel()
	s := start(t, sshdtest.Old(t), "TrustedUserCAKeys none", "PidFile %s/pid")
	t.Cleanup(func() { // it is no child of the test's
		if pid, err := strconv.Atoi(strings.TrimSpace(s.get(s.dir + "/pid"))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	})
	c := s.open()
	before := s.all()
	_, err := c.Apply(s.deadline(), Change{Act: PutCA, Line: newKey}, func(context.Context, Result) error {
		daemon, err := os.FindProcess(s.PID())
		if err == nil {
			err = daemon.Kill()
		}
		<-s.Exited
		return errors.Join(errors.New("no"), err)
	}, noted)
	if err == nil || err.Error() != "no" || s.all() != before {
		t.Errorf("%v\n%s", err, s.all())
	}
	if err := c.LogIn(s.deadline(), Identity{}); err != nil {
		t.Errorf("a new login: %v", err)
	}
}

// Where the end of the connection is not seen, time runs out.
func TestTakenBackByTime(t *testing.T) {
	patience = 2 * time.Second
	t.Cleanup(func() { patience = 5 * time.Minute })
	s := start(t, sshdtest.Old(t), "TrustedUserCAKeys none")
	c := s.open()
	before := s.all()
	_, err := c.Apply(s.deadline(), Change{Act: PutCA, Line: newKey}, func(context.Context, Result) error {
		testkit.WaitFor(t, "all is as before", func() bool { return s.all() == before })
		return nil
	}, noted)
	if err == nil || !strings.Contains(err.Error(), "waited too long") {
		t.Errorf("%v", err)
	}
}
