package setup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The documentation has the units as they are written, and as packages install them.
func TestUnitsOfTheDocumentation(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "login-service.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(b), "\n    ", "\n")
	for name, unit := range unitTexts {
		unit = strings.Replace(unit, "/usr/bin/vmux", "%h/.local/bin/vmux", 1)
		if !strings.Contains(page, "`~/.config/systemd/user/"+name+"`:\n\n"+unit) {
			t.Errorf("docs/login-service.md has another %s than\n%s", name, unit)
		}
	}
}

// Where no service manager answers, what is said fits the place.
func TestOtherwise(t *testing.T) {
	for _, test := range []struct {
		environment, file string
		want              string
	}{
		{"", "", "write `(/usr/bin/vmux agent >/dev/null 2>&1 &)` into ~/.profile"},
		{"WSL_DISTRO_NAME", "", "write systemd=true below [boot] in /etc/wsl.conf"},
		{"WSL_DISTRO_NAME", "/run/systemd/system", "log in as yourself"},
		{"container", "", "have the container start `/usr/bin/vmux agent`"},
		{"", "/.dockerenv", "have the container start"},
		{"", "/run/systemd/system", "not by su or sudo"},
	} {
		got := otherwise("/usr/bin/vmux agent", func(name string) string {
			if name == test.environment {
				return "x"
			}
			return ""
		}, func(path string) bool { return path == test.file })
		if !strings.Contains(got, test.want) {
			t.Errorf("%s %s: %s", test.environment, test.file, got)
		}
	}
}

// The desktop starts the tray by a line that it takes apart as one word.
func TestTrayAtLogin(t *testing.T) {
	a := newAccount(t)
	a.Parts = []string{PartTray}
	before := a.all()
	if n, _ := a.setUp(); n != 0 {
		t.Errorf("without a tray: %d changes", n)
	}
	a.Tray = `/opt/a "b" $c/100%/vmux-tray`
	if n, left := a.setUp(); n != 1 || len(left) > 0 {
		t.Errorf("%d changes, left %v", n, left)
	}
	if got := a.get(".config/autostart/vmux-tray.desktop"); !strings.Contains(got, "\nExec="+`"/opt/a \\"b\\" \\$c/100%%/vmux-tray"`+"\n") {
		t.Errorf("%s", got)
	}
	if a.undo(); a.all() != before {
		t.Errorf("after undo:\n%s", a.all())
	}
}

// The agent's settings in a form to which no table can be added are left alone, by line;
// a table with its name in quotes is added to.
func TestOtherFormsOfTheAgentsTable(t *testing.T) {
	for _, test := range []struct{ before, why string }{
		{"# mine\nagent.lan = false\n", "has settings of the agent in another form, in line 2"},
		{"\"agent\" = { lan = false }\n", "has settings of the agent in another form, in line 1"},
		{"['agent']\nlan = false\n", ""},
		{"[ \"agent\" ]\nlan = false\n", ""},
		{"[phone]\nagent.x = 1\n", ""},
	} {
		a := newAccount(t)
		a.Parts, a.ConfigFile, a.Config = nil, filepath.Join(a.home, "config.toml"), []string{`hub = "none"`}
		a.put("config.toml", test.before, 0o600)
		_, left := a.setUp()
		why := ""
		if len(left) > 0 {
			why = left[0].Why
		}
		if why != test.why || (why == "") == (a.get("config.toml") == test.before) {
			t.Errorf("%q: %q, became %q", test.before, why, a.get("config.toml"))
		}
		if strings.Contains(test.before, "lan = false\n") && why == "" && strings.Contains(a.get("config.toml"), "[agent]") {
			t.Errorf("%q got a second table: %q", test.before, a.get("config.toml"))
		}
		if a.undo(); a.get("config.toml") != test.before {
			t.Errorf("after undo: %q", a.get("config.toml"))
		}
	}
}

// Where a package has brought the units, they are enabled and not written, unless they
// would start something else.
func TestUnitsOfAPackage(t *testing.T) {
	a := newAccount(t)
	a.Packaged = t.TempDir()
	changes := func() int { return len(a.systemd()) }
	if changes() != 3 {
		t.Errorf("without a package: %d changes", changes())
	}
	for name, unit := range unitTexts {
		if err := os.WriteFile(filepath.Join(a.Packaged, name), []byte(unit), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if phone := a.phoneService(); changes() != 1 || a.systemd()[0].Unit == "" || len(phone) != 1 || phone[0].Unit != phoneUnit {
		t.Errorf("with a package: %v, %v", a.systemd(), phone)
	}
	for _, other := range []func(){
		func() { a.Socket = "/elsewhere" }, func() { a.Program = "/opt/vmux" }, func() { a.Environment = []string{"VMUX_HOME=/x"} },
		func() {
			if err := os.WriteFile(filepath.Join(a.Packaged, units[1]), []byte("[Service]\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		},
	} {
		before := a.Wish
		other()
		if changes() != 3 {
			t.Errorf("with what a package's do not do: %d changes", changes())
		}
		a.Wish = before
	}
}

// In a home folder that was moved, or copied, setup goes on with what it wrote, and takes it
// back there.
func TestHomeThatWasMoved(t *testing.T) {
	a := newAccount(t)
	t.Setenv("VMUX_HOME", "")
	t.Setenv("XDG_STATE_HOME", "")
	a.put(".bashrc", "mine\n", 0o644)
	a.setUp()
	moved := filepath.Join(filepath.Dir(a.home), "moved")
	if err := os.Rename(a.home, moved); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", moved)
	a.home, a.Home, a.Socket = moved, moved, filepath.Join(moved, ".ssh", "vmux-agent.sock")
	if _, left := a.setUp(); len(left) > 0 {
		t.Errorf("left alone: %v", left)
	}
	left := a.undo()
	if _, err := os.Lstat(filepath.Join(moved, ".ssh")); len(left) > 0 || a.get(".bashrc") != "mine\n" || !os.IsNotExist(err) {
		t.Errorf("left %v, %v\n%s", left, err, a.all())
	}
}
