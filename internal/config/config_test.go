package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"vmux/internal/wire"
)

// sample is a command with a flag of each kind that commands have.
type sample struct {
	hub, ca, socket string
	lan             bool
	keys            int
	wait            time.Duration
	upstream        []string
	check, run      error
	ran             bool
	*Command
}

func newSample(args ...string) (*sample, error) {
	s := &sample{}
	cmd := &cobra.Command{Use: "sample", SilenceErrors: true, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error { s.ran = true; return s.run }}
	flags := cmd.Flags()
	flags.StringVar(&s.hub, "hub", "none", "")
	flags.StringVar(&s.ca, "hub-ca", "", "`FILE`")
	DetailsOf("hub", flags)
	flags.StringVar(&s.socket, "socket", "", "`PATH`")
	flags.BoolVar(&s.lan, "lan", true, "")
	flags.IntVar(&s.keys, "max-keys", 4, "")
	flags.DurationVar(&s.wait, "wait", time.Minute, "")
	flags.StringSliceVar(&s.upstream, "upstream", nil, "`PATH`")
	s.Command = For(cmd, TableAgent, func() error { return s.check })
	cmd.SetArgs(args)
	return s, cmd.ParseFlags(args)
}

func (s *sample) execute() error { return s.cmd.Execute() }

// fileOf puts a file where --config finds it.
func fileOf(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFileSetsWhatNoFlagSets(t *testing.T) {
	t.Setenv("HOME", "/home/alice")
	path := fileOf(t, "\ufeff# mine\r\n[agent]\r\nhub = 'https://hub.example'\r\nhub-ca = \"~/ca.pem\"\r\nlan = false\r\n"+
		"max-keys = 0\r\nwait = \"1m30s\"\r\nupstream = [\"/a,b\",\r\n  \"~/c\"]\r\n\r\n[phone]\r\nwhatever = 1\r\n")
	s, err := newSample("--config", path, "--max-keys", "7")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.execute(); err != nil || !s.ran {
		t.Fatalf("%v, ran %v", err, s.ran)
	}
	got := []any{s.hub, s.ca, s.lan, s.keys, s.wait, s.upstream, s.socket}
	want := []any{"https://hub.example", "/home/alice/ca.pem", false, 7, 90 * time.Second, []string{"/a,b", "/home/alice/c"}, ""}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	lines := map[string]int{}
	for _, setting := range s.Settings() {
		if setting.Source == InFile {
			lines[setting.Key] = setting.Line
		}
	}
	if want := map[string]int{"hub": 3, "hub-ca": 4, "lan": 5, "wait": 7, "upstream": 8}; !reflect.DeepEqual(lines, want) {
		t.Errorf("lines %v, want %v", lines, want)
	}
}

// What `vmux config` prints is a file that says the same.
func TestSettingsAreReadAsTheyAreWritten(t *testing.T) {
	s, _ := newSample("--config", "none", "--hub", "a\"\\\x1b\n\x7fü", "--upstream", "/a", "--upstream", "/b", "--lan=false")
	if err := s.execute(); err != nil {
		t.Fatal(err)
	}
	text := "[agent]\n"
	for _, setting := range s.Settings() {
		text += setting.TOML() + "\n"
	}
	again, _ := newSample("--config", fileOf(t, text))
	if err := again.execute(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if s.hub != again.hub || !reflect.DeepEqual(s.upstream, again.upstream) || again.lan || again.wait != time.Minute {
		t.Errorf("%q %q %v after\n%s", again.hub, again.upstream, again.lan, text)
	}
}

// Each thing that is wrong is told with its line, and nothing is run.
func TestWrongFilesAreToldWithTheirLine(t *testing.T) {
	for _, test := range []struct{ name, text, want, hint string }{
		{"unknown setting", "[agent]\n\nmax-kees = 3\n", ":3: unknown setting max-kees in [agent]", "sample --help"},
		{"written otherwise", "[agent]\nmax_keys = 3\n", ":2: unknown setting max_keys", "its name is max-keys"},
		{"the file's own flag", "[agent]\nconfig = \"/x\"\n", ":2: unknown setting config", "--help"},
		{"help", "[agent]\nhelp = true\n", ":2: unknown setting help", "--help"},
		{"no table", "hub = \"x\"\n[agent]\n", ":1: unknown setting hub outside of the tables", "below [agent]"},
		{"unknown table", "[agent]\n[agents]\nhub = \"x\"\n", ":2: unknown table [agents]", "below [agent]"},
		{"other case", "[Agent]\nhub = \"x\"\n", ":2: unknown table [Agent]", "below [agent]"},
		{"dotted", "[agent]\nhub.ca = \"x\"\n", ":2: unknown setting hub.ca", ""},
		{"a table in the table", "[agent.hub]\nca = \"x\"\n", ":1: hub takes text in quotes, not a table", ""},
		{"braces", "agent = { hub = \"x\" }\n", ":1: hub stands between braces", "write [agent]"},
		{"list of tables", "[[agent]]\nhub = \"x\"\n", ":1: [agent] is a table", "write [agent]"},
		{"no table at all", "agent = 3\n", ":1: [agent] is a table", "write [agent]"},
		{"twice", "[agent]\nhub = \"x\"\nhub = \"y\"\n", ":3: key hub is already defined", ""},
		{"table twice", "[agent]\n[phone]\n[agent]\n", ":3: [agent] is a table, and stands once", ""},
		{"text without quotes", "[agent]\nsocket = /run/x\n", ":2: ", "text stands in quotes"},
		{"yes", "[agent]\nlan = yes\n", ":2: ", "text stands in quotes"},
		{"cut off", "[agent]\nhub = \"x", ":2: ", "text stands in quotes"},
		{"YAML", "agent:\n  hub: x\n", ":1: ", "text stands in quotes"},
		{"bool in quotes", "[agent]\nlan = \"false\"\n", `:2: lan takes true or false, not "false"`, ""},
		{"number in quotes", "[agent]\nmax-keys = \"4\"\n", `:2: max-keys takes a number, not "4"`, ""},
		{"fraction", "[agent]\nmax-keys = 4.5\n", ":2: max-keys takes a number, not 4.5", ""},
		{"number too large", "[agent]\nmax-keys = 99999999999999999999\n", ":2: ", ""},
		{"plain number for a duration", "[agent]\nwait = 60\n", `:2: wait takes a duration in quotes, such as "60s", not 60`, ""},
		{"no duration", "[agent]\nwait = \"60\"\n", `:2: wait takes a duration in quotes, such as "60s", not "60"`, ""},
		{"number for text", "[agent]\nhub = 5\n", ":2: hub takes text in quotes, not 5", ""},
		{"text for a list", "[agent]\nupstream = \"/x\"\n", ":2: upstream takes a list", ""},
		{"list for text", "[agent]\nhub = [\"x\"]\n", ":2: hub takes text in quotes, not a list", ""},
		{"list of numbers", "[agent]\nupstream = [\"/x\", 3]\n", ":2: upstream takes a list", ""},
		{"date", "[agent]\nhub = 2026-01-01\n", ":2: hub takes text in quotes, not 2026-01-01", ""},
		{"relative path", "[agent]\nsocket = \"x.sock\"\n", `:2: socket takes a path that begins with / or ~/, not "x.sock"`, "whole path"},
		{"variable", "[agent]\nsocket = \"$HOME/x\"\n", ":2: socket takes a path", "whole path"},
		{"other user's", "[agent]\nupstream = [\"~bob/x\"]\n", ":2: upstream takes a path", "whole path"},
		{"escapes", "[agent]\nsocket = \"\\u001b[2J\"\n", `not "\x1b[2J"`, ""},
		{"escapes in a key", "[agent]\n\"\\u001b[2J\" = 1\n", ":2: unknown setting", ""},
		{"UTF-16", "\xff\xfe[\x00a\x00", "no UTF-8 text", "UTF-8"},
		{"Latin-1", "[agent]\nhub = \"\xfc\"\n", ":2: invalid UTF-8", ""},
		{"a program", "\x7fELF\x00\x00", "no UTF-8 text", "UTF-8"},
		{"large", "#" + strings.Repeat("x", maxSize), "is over", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := newSample("--config", fileOf(t, test.text))
			if err == nil {
				err = s.execute()
			}
			if s.ran || !errors.As(err, new(*Error)) || !strings.Contains(err.Error(), test.want) || !strings.Contains(wire.HintOf(err), test.hint) {
				t.Fatalf("ran %v, error %v, hint %q", s.ran, err, wire.HintOf(err))
			}
			if strings.ContainsRune(err.Error()+wire.HintOf(err), '\x1b') {
				t.Errorf("what the file has reaches the terminal: %q", err)
			}
		})
	}
}

// A flag wins over the file, but does not hide what is wrong there.
func TestWrongValueBelowAFlagIsTold(t *testing.T) {
	s, _ := newSample("--config", fileOf(t, "[agent]\nmax-keys = \"many\"\n"), "--max-keys", "3")
	if err := s.execute(); err == nil || !strings.Contains(err.Error(), ":2: max-keys takes a number") {
		t.Error(err)
	}
}

// The file's hub-ca belongs to the file's hub.
func TestDetailsBelongToTheirLead(t *testing.T) {
	path := fileOf(t, "[agent]\nhub = \"https://a\"\nhub-ca = \"/ca.pem\"\n")
	for _, test := range []struct {
		flags []string
		ca    string
	}{
		{nil, "/ca.pem"},
		{[]string{"--hub", "https://a"}, "/ca.pem"},
		{[]string{"--hub", "none"}, ""},
		{[]string{"--hub", "none", "--hub-ca", "/b"}, "/b"},
	} {
		s, _ := newSample(append(test.flags, "--config", path)...)
		if err := s.execute(); err != nil || s.ca != test.ca {
			t.Errorf("%v: hub-ca %q, %v", test.flags, s.ca, err)
		}
	}
}

// What the command itself finds wrong is told with the line, and by the file's words.
func TestErrorsOfTheCommandNameTheLine(t *testing.T) {
	path := fileOf(t, "[agent]\nlan = false\nmax-keys = -1\n")
	wrong := errors.New("--max-keys is not for --hub URL or --lan")
	s, _ := newSample("--config", path, "--hub", "https://a")
	s.check = wrong
	err := s.execute()
	if want := path + ":3: max-keys is not for --hub URL or lan"; err == nil || err.Error() != want || !errors.Is(err, wrong) || s.ran {
		t.Errorf("%v, want %s", err, want)
	}
	if hint := wire.HintOf(err); hint != "sample --help" {
		t.Errorf("hint %q", hint)
	}
	s, _ = newSample("--config", path)
	s.run = wire.WithHint(errors.New("read --hub-ca: gone"), "that")
	if err := s.execute(); err != s.run {
		t.Errorf("an error about no setting of the file: %v", err)
	}
}

func TestFilesThatAreThereOrNot(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("VMUX_HOME", folder)
	usual := filepath.Join(folder, "config.toml")
	run := func(args ...string) (*sample, error) {
		s, _ := newSample(args...)
		return s, s.execute()
	}
	refused := func(want, hint string, args ...string) {
		t.Helper()
		if s, err := run(args...); err == nil || s.ran || !strings.Contains(err.Error(), want) || !strings.Contains(wire.HintOf(err), hint) {
			t.Errorf("want %q: %v, hint %q", want, err, wire.HintOf(err))
		}
	}
	if _, err := run(); err != nil {
		t.Errorf("without a file: %v", err)
	}
	refused("no such file", "none", "--config", usual)
	if err := os.Symlink(filepath.Join(folder, "elsewhere"), usual); err != nil {
		t.Fatal(err)
	}
	refused("link that leads to no file", "link")
	if err := os.WriteFile(filepath.Join(folder, "elsewhere"), []byte("[agent]\nmax-keys = 9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err := run(); err != nil || s.keys != 9 || !s.file.found {
		t.Errorf("through a link: %v, max-keys %d, %+v", err, s.keys, s.file)
	}
	if s, err := run("--config", "none"); err != nil || s.keys != 4 || s.file.path != "" {
		t.Errorf("--config none: %v, max-keys %d, %+v", err, s.keys, s.file)
	}
	for _, mode := range []os.FileMode{0o664, 0o646} {
		if err := os.Chmod(filepath.Join(folder, "elsewhere"), mode); err != nil {
			t.Fatal(err)
		}
		refused("others can write to it", "chmod go-w "+usual)
	}
	if err := os.WriteFile(filepath.Join(folder, "elsewhere"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(folder, "elsewhere"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(); err != nil {
		t.Errorf("an empty file: %v", err)
	}
	refused("is no regular file", "none", "--config", folder)
	refused("is no regular file", "none", "--config", os.DevNull)
	t.Setenv("VMUX_HOME", usual) // a file in the place of a folder
	if _, err := run(); err != nil {
		t.Errorf("a file in the place of the folder: %v", err)
	}
}
