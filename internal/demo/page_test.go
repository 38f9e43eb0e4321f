package demo

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"vmux/internal/wire"
)

// patience bounds every wait: a test machine may be busy, a hang must not last.
const patience = time.Minute

// demoPage starts a demonstration whose phone is a page, and returns it with
// what it prints, up to the invitation.
func demoPage(t *testing.T, args ...string) (cmd *exec.Cmd, tmp string, out *bufio.Reader, stderr *bytes.Buffer, invitation string) {
	t.Helper()
	cmd, tmp = demoProcess(t, args...)
	stderr = new(bytes.Buffer)
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	late := time.AfterFunc(4*patience, kill) // it would wait for a person
	t.Cleanup(func() { late.Stop(); kill() })
	out = bufio.NewReader(stdout)
	found := regexp.MustCompile(`^ +(https?://\S+#\S+)$`)
	var seen strings.Builder
	for {
		line, err := out.ReadString('\n')
		if err != nil {
			t.Fatalf("ended before the invitation: %v\n%s%s", err, seen.String(), stderr)
		}
		seen.WriteString(line)
		if m := found.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			return cmd, tmp, out, stderr, m[1]
		}
	}
}

// page is a phone that takes the page's place: it comes by the same hub, and has
// nothing but the invitation.
func page(t *testing.T) (vmux func(stdin string, args ...string)) {
	t.Helper()
	home, err := os.MkdirTemp("", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	passphrase := filepath.Join(home, "passphrase")
	if err := os.WriteFile(passphrase, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := append(os.Environ(), "VMUX_HOME="+home)
	vmux = func(stdin string, args ...string) {
		t.Helper()
		cmd := exec.Command(built, append([]string{"phone"}, args...)...)
		cmd.Env, cmd.Stdin = environment, strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("vmux phone %v: %v\n%s", args, err, out)
		}
	}
	run := exec.Command(built, "phone", "run", "--approve", "always", "--passphrase-file", passphrase, "--listen", "127.0.0.1:0")
	run.Env = environment
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run.Process.Signal(syscall.SIGTERM); _ = run.Wait() })
	return vmux
}

// The demonstration with a page, from the invitation to the last login. The
// phone pairs first and makes its key then, as a person does.
func TestDemoWithAPage(t *testing.T) {
	cmd, tmp, out, stderr, invitation := demoPage(t, "--web", "--yes")
	if !regexp.MustCompile(`^http://(vmux\.)?localhost:\d+/#`).MatchString(invitation) {
		t.Errorf("the invitation is not for the page: %s", invitation)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	vmux := page(t)
	vmux(invitation, "pair", "-")
	passphrase := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(passphrase, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	vmux("", "ca", "create", "--passphrase-file", passphrase)
	vmux("", "ca", "policy", "--principals", me.Username, "--auto-issue=false")
	vmux("", "identity", "create", "--label", "page-key", "--algorithm", "ssh-ed25519", "--passphrase-file", passphrase)
	var rest strings.Builder
	if _, err := out.WriteTo(&rest); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s%s", err, rest.String(), stderr)
	}
	for _, want := range []string{"accepted ED25519 SHA256:", "accepted ECDSA-CERT SHA256:", "by phone-held key     1 login", "by certificate        5 logins", "stays in the browser"} {
		if !strings.Contains(rest.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, rest.String())
		}
	}
	gone(t, cmd.Process.Pid, tmp)
}

// Who reads the demonstration stops reading: it tidies up all the same.
func TestDemoUnread(t *testing.T) {
	cmd, tmp := demoProcess(t, "--yes")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	stdout.Close()
	if err := cmd.Wait(); err == nil {
		t.Error("it did not notice")
	}
	gone(t, cmd.Process.Pid, tmp)
}

// Nobody comes, and ^C ends all of it, the hub too.
func TestDemoWithAPageInterrupted(t *testing.T) {
	cmd, tmp, out, stderr, _ := demoPage(t, "--web", "--yes")
	began := time.Now()
	_ = cmd.Process.Signal(os.Interrupt)
	_, _ = out.WriteTo(new(strings.Builder))
	err := cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != wire.ExitFailed || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("ended with %v: %s", err, stderr)
	}
	if took := time.Since(began); took > 2*patience { // it would wait for a phone for minutes
		t.Errorf("it took %v", took)
	}
	gone(t, cmd.Process.Pid, tmp)
}

// A hub that does not tell its certificate is told of by its answer.
func TestHubWithoutItsCertificate(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	d := &demo{install: s.URL + installPage}
	if _, err := d.rootFingerprint(t.Context()); err == nil || err.Error() != "ask the hub for its certificate: 404 Not Found" {
		t.Errorf("%v", err)
	}
}
