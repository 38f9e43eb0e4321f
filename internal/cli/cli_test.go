package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// built is vmux as it is shipped: package test has it watch whole programs, and
// here it watches what runs in this process.
var built string

func TestMain(m *testing.M) { os.Exit(testkit.Programs(m, &built)) }

// result is what a command in this process left.
type result struct {
	stdout, stderr string
	exit           int
}

func run(t *testing.T, args ...string) result {
	t.Helper()
	var stdout, stderr strings.Builder
	exit := Run(t.Context(), args, &command.IO{In: strings.NewReader(""), Out: &stdout, Err: &stderr})
	return result{stdout.String(), stderr.String(), exit}
}

// Wrong usage is told with its hint on standard error, and ends with 2.
func TestWrongUsage(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"", "vmux: which command?\nhint: vmux --help\n"},
		{"sttaus", "vmux: vmux has no command sttaus\nhint: vmux status\n"},
		{"version --jsn", "vmux: unknown flag: --jsn\nhint: vmux version --help\n"},
		{"version now", "vmux: vmux version: unexpected argument now\nhint: vmux version --help\n"},
		{"cert", "vmux: which command?\nhint: vmux cert --help\n"},
		{"cert rnew", "vmux: vmux cert has no command rnew\nhint: vmux cert --help\n"},
		{"phone", "vmux: which command?\nhint: vmux phone --help\n"},
		{"completion", "vmux: which command?\nhint: vmux completion --help\n"},
		{"completion tcsh", "vmux: vmux completion has no command tcsh\nhint: vmux completion --help\n"},
		{"completion bash more", "vmux: vmux completion bash: unexpected argument more\nhint: vmux completion bash --help\n"},
		{"help nosuch", "vmux: vmux has no command nosuch\nhint: vmux --help\n"},
		{"git-sign", "hint: vmux git setup\n"},
		{"git-sign -t ed25519", "hint: vmux git setup\n"}, // ssh-keygen would make a key
		{"unpair", "vmux: vmux unpair: DEVICE is missing\nhint: vmux unpair --help\n"},
		{"ring one two", "vmux: vmux ring: unexpected argument two\nhint: vmux ring --help\n"},
		{"phone identity rename", "vmux: vmux phone identity rename: IDENTITY and LABEL is missing\nhint: vmux phone identity rename --help\n"},
		{"phone identity rename work", "vmux: vmux phone identity rename: LABEL is missing\nhint: vmux phone identity rename --help\n"},
		{"phone identity create work", "vmux: vmux phone identity create: unexpected argument work\nhint: vmux phone identity create --help\n"},
		{"phone grants of", "vmux: vmux phone grants: unexpected argument of\nhint: vmux phone grants --help\n"},
		{"agent work", "vmux: vmux agent: unexpected argument work\nhint: vmux agent --help\n"},
		{"agent --hub wss://hub.example", "want https://HOST\nhint: vmux agent --help\n"},
		{"agent --hub http://hub.example", "http is for localhost only, want https\nhint: vmux agent --help\n"},
		{"agent --hub https://hub.example/vmux", "a hub needs a host name of its own, and no path\nhint: vmux agent --help\n"},
		{"agent --hub https://hub.example --hub-local-ca", "are for --hub local\nhint: vmux agent --help\n"},
		{"agent --hub https://hub.example --push-subject mailto:me@example.org", "are for --hub local\nhint: vmux agent --help\n"},
		{"agent --hub local --push-subject me@example.org", "vmux: --push-subject: neither mailto:ADDRESS nor an https URL: \"me@example.org\"\nhint: vmux agent --help\n"},
		{"agent --hub local --hub-local-ca --push-subject mailto:me@laptop.local", "vmux: --push-subject: \"laptop.local\" is no name of the public DNS, and Apple's push service refuses such a subject\nhint: vmux agent --help\n"},
		{"agent --hub-ca FILE", "vmux: --hub-ca is for --hub URL\nhint: vmux agent --help\n"},
		{"agent --hub local --hub-listen 127.0.0.1:0", "with a port that stays the same\nhint: vmux agent --help\n"},
		{"agent --hub local --hub-url https://hub.example", "else http://" + hubHost + ":PORT\nhint: vmux agent --help\n"},
		{"agent --hub local --hub-local-ca --hub-url http://localhost", "else http://" + hubHost + ":PORT\nhint: vmux agent --help\n"},
		{"agent --hub local --hub-local-ca --hub-url https://my_laptop.local:8722", "not \"my_laptop.local\"\nhint: vmux agent --help\n"},
		{"agent --hub local --hub-behind-proxy", "the URL by which phones open the proxy\nhint: vmux agent --help\n"},
		{"agent --hub local --hub-listen-http :80", "vmux: --hub-listen-http is for --hub-local-ca\nhint: vmux agent --help\n"},
		{"agent --hub local --hub-behind-proxy --hub-local-ca", "exclude each other\nhint: vmux agent --help\n"},
		{"phone run --approve always --passphrase-file FILE --hub ftp://hub", "want https://HOST\nhint: vmux phone run --help\n"},
		{"agent --passkeys first", "vmux: --passkeys accepts last, never or no-certificate\nhint: vmux agent --help\n"},
		{"agent --approval-timeout 2m", "vmux: --approval-timeout accepts 1s to 1m40s\nhint: vmux agent --help\n"},
		{"demo", "vmux: there is no terminal to ask for approval on\nhint: vmux demo --yes\n"},
		{"demo --web --phone", "vmux: --web and --phone exclude each other\nhint: vmux demo --help\n"},
		{"demo --web --name box.local", "vmux: --name is for --phone\nhint: vmux demo --help\n"},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Setenv("VMUX_HOME", t.TempDir())
			r := run(t, strings.Fields(test.args)...)
			if r.exit != wire.ExitUsage || !strings.HasSuffix(r.stderr, test.want) || r.stdout != "" {
				t.Errorf("exit %d, stdout %q, stderr %q; want exit 2 and %q", r.exit, r.stdout, r.stderr, test.want)
			}
		})
	}
}

// Errors carry their code's exit status and hint, however deep they are wrapped,
// and a hint of the caller who knows more wins.
func TestFailures(t *testing.T) {
	denied := wire.NewError(wire.CodeUserDenied)
	for _, test := range []struct {
		err  error
		exit int
		want string
	}{
		{errors.New("the disk is full"), 1, "vmux: the disk is full\n"},
		{fmt.Errorf("ask: %w", denied), 4, "vmux: ask: Denied on the phone.\nhint: " + wire.MeaningOf(wire.CodeUserDenied).Hint + "\n"},
		{command.WithHint(fmt.Errorf("ask: %w", denied), "ask again"), 4, "vmux: ask: Denied on the phone.\nhint: ask again\n"},
		{wire.NewError(wire.CodePhoneNotReachable), 3, "vmux: The phone is not reachable.\nhint: " + wire.MeaningOf(wire.CodePhoneNotReachable).Hint + "\n"},
		{wire.NewError(wire.CodeRequestExpired), 5, "vmux: No answer within 60 s.\nhint: " + wire.MeaningOf(wire.CodeRequestExpired).Hint + "\n"},
		{errors.New("one\ntwo"), 1, "vmux: one; two\n"},
		{fmt.Errorf("serve: %w", wire.WithHint(errors.New("a link"), "choose another path")), 1, "vmux: serve: a link\nhint: choose another path\n"},
	} {
		var b strings.Builder
		exit := (&command.IO{Err: &b}).Fail(t.Context(), &cobra.Command{}, test.err)
		if b.String() != test.want || exit != test.exit {
			t.Errorf("%v: exit %d, %q; want %d, %q", test.err, exit, b.String(), test.exit, test.want)
		}
	}
}

// Without an agent every command that needs one says so, and how to start it.
func TestNoAgent(t *testing.T) {
	for _, args := range []string{"status", "status --json", "pair", "keys refresh", "cert request", "cert show", "ca", "ca accept", "devices", "unpair somebody"} {
		t.Run(args, func(t *testing.T) {
			t.Setenv("VMUX_HOME", t.TempDir())
			r := run(t, strings.Fields(args)...)
			if r.exit != wire.ExitFailed || r.stderr != "vmux: the agent is not running\nhint: vmux agent\n" || r.stdout != "" {
				t.Errorf("exit %d, stdout %q, stderr %q", r.exit, r.stdout, r.stderr)
			}
		})
	}
}

func TestHelpIsTheAnswer(t *testing.T) {
	r := run(t, "cert", "request", "--help")
	if r.exit != 0 || r.stderr != "" || !strings.Contains(r.stdout, "Usage:\n  vmux cert request") {
		t.Errorf("exit %d, stdout %q, stderr %q", r.exit, r.stdout, r.stderr)
	}
}

func TestVersion(t *testing.T) {
	if r := run(t, "version"); r.exit != 0 || !strings.HasPrefix(r.stdout, "vmux "+command.Version+" (") {
		t.Errorf("exit %d, %q", r.exit, r.stdout)
	}
	if log := read(t, "CHANGELOG.md"); !strings.Contains(log, "\n## "+command.Version) {
		t.Errorf("CHANGELOG.md has no section for %s", command.Version)
	}
}
