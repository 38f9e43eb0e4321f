package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vmux/internal/otheragents"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// account is a person's home folder with a state folder beside it.
type account struct {
	t    *testing.T
	home string
	Wish
}

func newAccount(t *testing.T) *account {
	root := t.TempDir()
	a := &account{t: t, home: filepath.Join(root, "home")}
	for _, name := range []string{"VMUX_HOME", "HOME", "XDG_CONFIG_HOME", "ZDOTDIR"} {
		t.Setenv(name, map[string]string{"VMUX_HOME": filepath.Join(root, "state"), "HOME": a.home}[name])
	}
	if err := errors.Join(os.Mkdir(a.home, 0o755), os.Unsetenv("ZDOTDIR")); err != nil { // empty, it is / to zsh
		t.Fatal(err)
	}
	a.Wish = Wish{
		Parts: []string{PartSSH, PartEnvironment, PartShell}, Shells: []string{"bash", "zsh", "fish"},
		Home: a.home, Socket: filepath.Join(a.home, ".ssh", "vmux-agent.sock"), Program: "/usr/bin/vmux",
	}
	return a
}

func (a *account) put(name, text string, mode fs.FileMode) {
	a.t.Helper()
	path := filepath.Join(a.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		a.t.Fatal(err)
	}
}

func (a *account) get(name string) string {
	a.t.Helper()
	b, err := os.ReadFile(filepath.Join(a.home, name))
	if err != nil {
		a.t.Fatal(err)
	}
	return string(b)
}

// open opens the record until the test ends or it is closed.
func (a *account) open() *Record {
	a.t.Helper()
	home, err := state.Find()
	if err != nil {
		a.t.Fatal(err)
	}
	r, err := Open(home)
	if err != nil {
		a.t.Fatal(err)
	}
	return r
}

// setUp makes all changes and returns how many there were, and what was in the way.
func (a *account) setUp() (int, []Left) {
	a.t.Helper()
	r := a.open()
	defer r.Close()
	plan, left, err := r.Plan(a.Wish)
	if err != nil {
		a.t.Fatal(err)
	}
	after, err := r.Make(plan)
	if err != nil {
		a.t.Fatal(err)
	}
	return len(plan) - len(after), append(left, after...)
}

func (a *account) undo() []Left {
	a.t.Helper()
	r := a.open()
	defer r.Close()
	left, err := r.Undo(func(string) {})
	if err != nil {
		a.t.Fatal(err)
	}
	if r.Empty() != (len(left) == 0) {
		a.t.Errorf("left %v, record empty: %v", left, r.Empty())
	}
	return left
}

// all is every file and folder with its mode and content.
func (a *account) all() string {
	a.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(a.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v", path, info.Mode())
		if link, err := os.Readlink(path); err == nil {
			fmt.Fprintf(&b, " -> %s", link)
		} else if !d.IsDir() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", content)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return b.String()
}

func TestUndoLeavesEveryFileAsItWas(t *testing.T) {
	for _, test := range []struct {
		name string
		put  func(a *account)
	}{
		{"a fresh account", func(*account) {}},
		{"files of their own", func(a *account) {
			a.put(".ssh/config", "Host work\n    IdentityAgent /run/work\n", 0o600)
			a.put(".bashrc", "case $- in *i*) ;; *) return;; esac\n", 0o644)
			a.put(".zshrc", "bindkey -e\n", 0o640)
			a.put(".config/fish/config.fish", "set x 1\n", 0o644)
		}},
		{"no last line's end", func(a *account) {
			a.put(".ssh/config", "Host work\n    User alice", 0o600)
			a.put(".bashrc", "alias ll='ls -l'", 0o644)
			a.put(".zshrc", "x\r\ny\r\n", 0o644)
		}},
		{"empty files", func(a *account) {
			a.put(".ssh/config", "", 0o600)
			a.put(".bashrc", "", 0o600)
			a.put(".zshrc", "\n\n", 0o600)
		}},
		{"symbolic links to a repository", func(a *account) {
			a.put("dotfiles/bashrc", "x\n", 0o644)
			a.put("dotfiles/ssh/config", "Host *\n", 0o644)
			for at, link := range map[string]string{".bashrc": "dotfiles/bashrc", ".ssh": "dotfiles/ssh"} {
				if err := os.Symlink(link, filepath.Join(a.home, at)); err != nil {
					a.t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAccount(t)
			test.put(a)
			before := a.all()
			n, left := a.setUp()
			if n != 6 || len(left) > 0 {
				t.Errorf("%d changes, left %v", n, left)
			}
			during := a.all()
			if again, left := a.setUp(); again != 0 || len(left) > 0 || a.all() != during {
				t.Errorf("a second time: %d changes, left %v:\n%s", again, left, a.all())
			}
			a.Socket = filepath.Join(a.home, "other dir%", "it's.sock") // each file has to be changed
			if again, left := a.setUp(); again != 5 || len(left) > 0 || strings.Contains(a.all(), "vmux-agent.sock") {
				t.Errorf("with another socket: %d changes, left %v:\n%s", again, left, a.all())
			}
			if left := a.undo(); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			if after := a.all(); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// What a person writes meanwhile is theirs.
func TestUndoKeepsWhatWasWrittenSince(t *testing.T) {
	a := newAccount(t)
	a.put(".bashrc", "one\n", 0o644)
	a.setUp()
	a.put(".bashrc", "zero\n"+a.get(".bashrc")+"three\n", 0o644)
	a.put(".zshrc", a.get(".zshrc")+"mine\n", 0o644)
	a.put(".ssh/config", strings.ReplaceAll(a.get(".ssh/config"), "vmux.conf", "other.conf"), 0o600)
	a.put(".ssh/config.d/other.conf", "", 0o600)
	left := a.undo()
	if len(left) != 1 || !strings.HasSuffix(left[0].Path, "/.ssh/config") || left[0].Why != "its lines were changed since" {
		t.Errorf("left %v", left)
	}
	if got := a.get(".bashrc"); got != "zero\none\nthree\n" {
		t.Errorf(".bashrc: %q", got)
	}
	if got := a.get(".zshrc"); got != "mine\n" {
		t.Errorf(".zshrc: %q", got)
	}
	if _, err := os.Stat(filepath.Join(a.home, ".ssh/config.d/other.conf")); err != nil {
		t.Error(err)
	}
	a.put(".ssh/config", "# I took it out\n", 0o600)
	if left := a.undo(); len(left) != 0 || a.get(".ssh/config") != "# I took it out\n" {
		t.Errorf("after the person took the lines out: left %v, %q", left, a.get(".ssh/config"))
	}
}

// What a person wrote below setup's own table, or below its host, stays below it.
func TestUndoKeepsTheHeadingOfWhatWasWrittenBelow(t *testing.T) {
	for _, test := range []struct{ before, below, after string }{
		{"", "lan = false\n", "[agent]\nlan = false\n"},
		{"[phone]\nhub = \"none\"\n", "\n# mine\n name = \"desk\"\n", "[phone]\nhub = \"none\"\n\n[agent]\n\n# mine\n name = \"desk\"\n"},
		{"[phone]", "lan = false\n", "[phone]\n\n[agent]\nlan = false\n"}, // its line had no end
		{"", "# mine\n\n[phone]\nhub = \"none\"\n", "# mine\n\n[phone]\nhub = \"none\"\n"},
		{"Host a\n", "  user alice\n", "Host a\n\nHost *\n  user alice\n"},
		{"Host a\n", "host b\n", "Host a\nhost b\n"},
		{"Host a\n", "\tMATCH all\n", "Host a\n\tMATCH all\n"},
	} {
		a := newAccount(t)
		a.ConfigFile, a.Config = filepath.Join(a.home, "config.toml"), []string{`hub = "none"`}
		name := "config.toml"
		if strings.Contains(test.before, "Host") {
			name = ".ssh/config"
		}
		if test.before != "" {
			a.put(name, test.before, 0o600)
		}
		a.setUp()
		a.put(name, a.get(name)+test.below, 0o600)
		if left := a.undo(); len(left) > 0 || a.get(name) != test.after {
			t.Errorf("%q with %q below became %q, want %q; left %v", test.before, test.below, a.get(name), test.after, left)
		}
	}
}

// A file that was taken the permission to write from is left alone, by root as well, and
// what would have stood there is told.
func TestFilesThatCannotBeWrittenStay(t *testing.T) {
	a := newAccount(t)
	a.put(".ssh/config", "Host *\n", 0o400)
	a.put("dotfiles/bashrc", "x\n", 0o444)
	for name, to := range map[string]string{".bashrc": "dotfiles/bashrc", ".zshrc": "/nix/store/gone"} {
		if err := os.Symlink(to, filepath.Join(a.home, name)); err != nil {
			t.Fatal(err)
		}
	}
	a.put(".config/fish/conf.d/vmux.fish", "# mine\n", 0o644)
	before := a.get(".ssh/config") + a.get(".bashrc") + a.get(".config/fish/conf.d/vmux.fish")
	n, left := a.setUp()
	var told []string
	for _, l := range left {
		told = append(told, strings.TrimPrefix(l.Path, a.home+"/")+" "+l.Why)
		if !strings.Contains(l.Text, "vmux") {
			t.Errorf("%s: no lines to add by hand: %q", l.Path, l.Text)
		}
	}
	slices.Sort(told)
	want := []string{
		".bashrc cannot be written to",
		".config/fish/conf.d/vmux.fish is there already, and setup has not written it",
		".ssh/config cannot be written to",
		".zshrc is a symbolic link that leads to no file",
	}
	if n != 2 || !slices.Equal(told, want) {
		t.Errorf("%d changes; told %q", n, told)
	}
	if a.get(".ssh/config")+a.get(".bashrc")+a.get(".config/fish/conf.d/vmux.fish") != before {
		t.Error("one of them was changed")
	}
}

// A folder in which nothing can be made keeps nothing else from being written.
func TestFoldersThatCannotBeWrittenStay(t *testing.T) {
	a := newAccount(t)
	a.put(".ssh/config", "Host work\n", 0o600)
	a.put(".bashrc", "x\n", 0o644)
	a.put(".zshrc", "x\n", 0o644)
	if err := os.Symlink("/proc", filepath.Join(a.home, ".config")); err != nil {
		t.Fatal(err)
	}
	before := a.all()
	n, left := a.setUp()
	var told []string
	for _, l := range left {
		told = append(told, strings.TrimPrefix(l.Path, a.home+"/")+" "+l.Why)
	}
	want := []string{
		".config/environment.d/vmux.conf cannot be written to: no such file or directory",
		".config/fish/conf.d/vmux.fish cannot be written to: no such file or directory",
	}
	if n != 4 || !slices.Equal(told, want) {
		t.Errorf("%d changes; told %q", n, told)
	}
	if left := a.undo(); len(left) > 0 || a.all() != before {
		t.Errorf("left %v\n%s", left, a.all())
	}
	if err := errors.Join(os.Remove(filepath.Join(a.home, ".config")), os.WriteFile(filepath.Join(a.home, ".config"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	n, left = a.setUp()
	if n != 4 || len(left) != 2 || left[0].Why != "cannot be read: not a directory" {
		t.Errorf("%d changes; left %v", n, left)
	}
}

// The desktop's environment has the path, whatever stands in it.
func TestEnvironmentOfAnyPath(t *testing.T) {
	const generator = "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator"
	a := newAccount(t)
	a.Socket = filepath.Join(a.home, `a "dir's" \ $HOME`, "agent.sock")
	a.setUp()
	out, err := exec.Command(generator).Output()
	if err != nil {
		t.Fatalf("%v: run `make setup`", err)
	}
	told, err := exec.Command("sh", "-c", string(out)+"\nprintf %s \"$SSH_AUTH_SOCK\"").Output()
	if err != nil || string(told) != a.Socket {
		t.Errorf("%v: %s, by %s", err, told, out)
	}
}

// What cannot be taken back keeps nothing else from it.
func TestUndoGoesOnAfterAFailure(t *testing.T) {
	a := newAccount(t)
	a.setUp()
	fish := filepath.Join(a.home, ".config/fish/conf.d/vmux.fish")
	if err := os.Remove(fish); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(fish, fish); err != nil { // to itself: it cannot be read
		t.Fatal(err)
	}
	r := a.open()
	defer r.Close()
	left, err := r.Undo(func(string) {})
	if err == nil || len(left) > 0 || len(r.Entries) != 1 || r.Entries[0].Path != fish {
		t.Errorf("%v; left %v, recorded %v", err, left, r.Entries)
	}
	if _, err := os.Stat(filepath.Join(a.home, ".ssh")); !os.IsNotExist(err) {
		t.Errorf("ssh's part is still there: %v", err)
	}
}

// Another user's file is left alone: it would become this one's.
func TestFilesOfAnotherUserStay(t *testing.T) {
	a := newAccount(t)
	a.Parts, a.Shells = []string{PartShell}, []string{"bash"}
	path := filepath.Join(a.home, ".bashrc")
	if os.Geteuid() != 0 {
		if err := os.Symlink("/etc/passwd", path); err != nil {
			t.Fatal(err)
		}
	} else if err := errors.Join(os.WriteFile(path, []byte("x\n"), 0o644), os.Chown(path, 1, 1)); err != nil {
		t.Fatal(err)
	}
	n, left := a.setUp()
	if n != 0 || len(left) != 1 || !strings.HasSuffix(left[0].Why, "belongs to another user") {
		t.Errorf("%d changes, left %v", n, left)
	}
}

// A file that was made, and then moved to a repository with a link in its place, stays
// there, and the link too.
func TestUndoFollowsALink(t *testing.T) {
	a := newAccount(t)
	a.setUp()
	a.put("dotfiles/bashrc", a.get(".bashrc"), 0o644)
	path := filepath.Join(a.home, ".bashrc")
	if err := errors.Join(os.Remove(path), os.Symlink("dotfiles/bashrc", path)); err != nil {
		t.Fatal(err)
	}
	if left := a.undo(); len(left) > 0 || a.get("dotfiles/bashrc") != "" {
		t.Errorf("left %v; %q", left, a.get("dotfiles/bashrc"))
	}
	if !isLink(path) {
		t.Error("the link is gone")
	}
}

// A change is recorded before it is made: one that was cut off is taken back.
func TestUndoOfWhatWasCutOff(t *testing.T) {
	a := newAccount(t)
	a.put(".bashrc", "x\n", 0o644)
	before := a.all()
	r := a.open()
	plan, _, err := r.Plan(a.Wish)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range plan {
		if err := r.add(entry{Part: c.part, Path: c.Path, Text: c.Lines, Made: true}, c.Path); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	left := a.undo()
	if len(left) != 0 || a.all() != before {
		t.Errorf("left %v\n%s", left, a.all())
	}
}

// ssh asks vmux for each host that the person names no agent for.
// So it is where the person includes the fragment's folder before them.
func TestSSHReadsTheFragment(t *testing.T) {
	a := newAccount(t)
	a.Socket = filepath.Join(a.home, "a dir", "100%.sock")
	a.put(".ssh/config", "Include "+a.home+"/.ssh/config.d/*\n\nHost work\n    IdentityAgent /run/work\nHost last\n    User alice", 0o600)
	a.setUp()
	for host, want := range map[string]string{"work": "/run/work", "last": a.Socket, "other.example": a.Socket} {
		out, err := exec.Command("ssh", "-F", filepath.Join(a.home, ".ssh/config"), "-G", host).CombinedOutput()
		if err != nil || !strings.Contains(strings.ReplaceAll(string(out), "%%", "%"), "identityagent "+want+"\n") {
			t.Errorf("%s: %v, want %s:\n%s", host, err, want, out)
		}
	}
}

func TestShellsAreToldOfTheSocket(t *testing.T) {
	a := newAccount(t)
	a.Socket = filepath.Join(a.home, "a dir", "it's $HOME.sock")
	forwarded := filepath.Join(a.home, "forwarded")
	l, err := net.Listen("unix", forwarded)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a.put(".bash_profile", "true\n", 0o644)                                      // which does not read .bashrc
	a.put(".zshenv", "ZDOTDIR=~/zsh; [[ -o interactive ]] || echo hello", 0o644) // which no other program is told of
	a.put("zsh/.zshrc", "", 0o644)
	a.setUp()
	for _, shell := range [][]string{
		{"bash", "-u", "-e", "-c", ". ~/.bashrc; echo \"<$SSH_AUTH_SOCK>\""},
		{"bash", "-u", "-l", "-c", "echo \"<$SSH_AUTH_SOCK>\""},
		{"zsh", "-i", "-c", "echo \"<$SSH_AUTH_SOCK>\""},
		{"fish", "-c", "echo \"<$SSH_AUTH_SOCK>\""},
	} {
		for _, test := range []struct{ connection, before, want string }{
			{"", forwarded, a.Socket},
			{"192.0.2.1 1 192.0.2.2 22", forwarded, forwarded},
			{"192.0.2.1 1 192.0.2.2 22", forwarded + ".gone", a.Socket}, // in tmux, after that login
			{"192.0.2.1 1 192.0.2.2 22", "", a.Socket},                  // without ForwardAgent
		} {
			cmd := exec.Command(shell[0], shell[1:]...)
			cmd.Env = []string{"HOME=" + a.home, "PATH=" + os.Getenv("PATH"), "TERM=dumb"}
			if test.connection != "" {
				cmd.Env = append(cmd.Env, "SSH_CONNECTION="+test.connection)
			}
			if test.before != "" {
				cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+test.before)
			}
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != "<"+test.want+">\n" {
				t.Errorf("%s, %+v: %v, %q", shell, test, err, out)
			}
		}
	}
}

// systemd reads the units without a complaint, whatever the paths are.
func TestUnitsAreValid(t *testing.T) {
	a := newAccount(t)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	a.Program = filepath.Join(a.home, "a $dir", "100%", "vmux")
	a.put("a $dir/100%/vmux", "#!/bin/sh\n", 0o755)
	a.Socket = filepath.Join(a.home, "100%.sock")
	a.Environment = []string{"VMUX_HOME=/x y/100%"}
	for _, c := range a.systemd() {
		if c.Unit == "" {
			a.put(strings.TrimPrefix(c.Path, a.home), c.Lines, 0o600)
		}
	}
	folder := filepath.Join(a.home, ".config/systemd/user")
	for _, unit := range units {
		out, err := exec.Command("systemd-analyze", "verify", "--user", "--man=no", filepath.Join(folder, unit)).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v: %s", unit, err, out)
		}
	}
}

// Another socket is told of as one that systemd has to let go of, and nothing else is.
func TestAnotherSocketMovesIt(t *testing.T) {
	a := newAccount(t)
	a.Parts = []string{PartSSH, PartService}
	r := a.open()
	defer r.Close()
	for _, test := range []struct{ program, socket, moves string }{
		{"/usr/bin/vmux", "/run/a", ""}, {"/opt/vmux", "/run/a", ""}, {"/opt/vmux", "/run/b", "vmux-agent.socket"},
	} {
		a.Program, a.Socket = test.program, test.socket
		plan, _, err := r.Plan(a.Wish)
		if err != nil {
			t.Fatal(err)
		}
		moves := ""
		for _, c := range plan {
			if c.MovesSocket() {
				moves += filepath.Base(c.Path)
			}
			if c.Unit != "" {
				continue // there may be no service manager
			}
			if _, err := r.Make([]Change{c}); err != nil {
				t.Fatal(err)
			}
		}
		if moves != test.moves {
			t.Errorf("%s at %s: %q moves, want %q", test.program, test.socket, moves, test.moves)
		}
	}
}

// Settings go below [agent], however that is written, one after the other; what a person
// wrote stays as it is.
func TestSettingsGoBelowTheirTable(t *testing.T) {
	for _, test := range []struct{ before, after string }{
		{"", "[agent]\n# M\nupstream = \"/x\"\n# M\nhub = \"none\"\n"},
		{"[phone]\nlisten = \":1\"", "[phone]\nlisten = \":1\"\n\n[agent]\n# M\nupstream = \"/x\"\n# M\nhub = \"none\"\n"},
		{"[ agent ]  # x\nlan = true\n[phone]\n", "[ agent ]  # x\n# M\nupstream = \"/x\"\n# M\nhub = \"none\"\nlan = true\n[phone]\n"},
		{"\ufeff[agent]\nlan = true\n", "\ufeff[agent]\n# M\nupstream = \"/x\"\n# M\nhub = \"none\"\nlan = true\n"}, // as some editors begin a file
		{"[agent]", "[agent]\n# M\nupstream = \"/x\"\n# M\nhub = \"none\"\n"},                                       // its line has no end
	} {
		a := newAccount(t)
		a.Parts = nil
		a.ConfigFile = filepath.Join(a.home, ".config", "vmux", "config.toml")
		if test.before != "" {
			a.put(".config/vmux/config.toml", test.before, 0o644)
		}
		before := a.all()
		a.Config = []string{`hub = "none"`}
		a.setUp()
		a.Config = []string{`upstream = "/x"`}
		a.setUp()
		if got := strings.ReplaceAll(a.get(".config/vmux/config.toml"), marked, "# M\n"); !strings.HasPrefix(got, test.after) {
			t.Errorf("%q became %q", test.before, got)
		}
		if left := a.undo(); len(left) > 0 || a.all() != before {
			t.Errorf("left %v\n%s", left, a.all())
		}
	}
}

// Another agent is found by its socket, once, and vmux itself is none.
func TestAgents(t *testing.T) {
	a := newAccount(t)
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	a.Socket = filepath.Join(dir, "keyring", "ssh")
	for _, path := range []string{filepath.Join(dir, "openssh_agent"), filepath.Join(dir, "gcr", "ssh"), a.Socket} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	if err := os.WriteFile(filepath.Join(dir, "ssh-agent.socket"), nil, 0o600); err != nil { // nobody answers there
		t.Fatal(err)
	}
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(dir, "openssh_agent"))
	want := []otheragents.Agent{{Name: "GNOME's gcr-ssh-agent", Socket: filepath.Join(dir, "gcr", "ssh")}, {Name: "ssh-agent", Socket: filepath.Join(dir, "openssh_agent")}}
	if got := a.Agents(t.Context()); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestHomeOfAnotherUser(t *testing.T) {
	home := newAccount(t).home
	if err := CheckOwner(home); err != nil {
		t.Error(err)
	}
	if os.Geteuid() != 0 {
		home = "/"
	} else if err := os.Chown(home, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := CheckOwner(home); err == nil || wire.HintOf(err) != "run it as that user, without sudo" {
		t.Errorf("another user's home: %v, hint %q", err, wire.HintOf(err))
	}
}
