package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/sshdtest"
)

// repository is one of the computer's user.
type repository struct {
	*world
	dir string
}

func (w *world) repository(name string) repository {
	w.Helper()
	r := repository{w, filepath.Join(w.computer.dir, name)}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		w.Fatal(err)
	}
	r.git("init", "--quiet")
	r.git("config", "--global", "user.name", "Zoë Ex")
	r.git("config", "--global", "user.email", "zoe@example.com")
	return r
}

func (r repository) command(args ...string) *exec.Cmd {
	r.Helper()
	cmd := r.computer.commandOf(deadline(r), "git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(cmd.Env, "GIT_CONFIG_NOSYSTEM=1", "GIT_EDITOR=true")
	return cmd
}

// git runs git and returns all that it printed.
func (r repository) git(args ...string) string {
	r.Helper()
	out, errs, err := finish(r.command(args...))
	if err != nil {
		r.Fatalf("git %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out + errs
}

// start runs git in the background.
func (r repository) start(args ...string) <-chan error {
	r.Helper()
	cmd := r.command(args...)
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	return done
}

func TestGitSetupSignsAndVerifies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	w.waitStatus(w.identity("ssh-ed25519").Fingerprint)
	repo := w.repository("product")
	repo.git("config", "--global", "user.email", "* zoe@example.com")
	if r := w.computer.try("git", "setup"); r.exit != 1 || !strings.Contains(r.stderr, "cannot stand in a file of allowed signers") {
		t.Errorf("an address that would let everybody sign: %+v", r)
	}
	repo.git("config", "--global", "user.email", "zoe@example.com")
	w.computer.run("git", "setup")
	w.computer.run("git", "setup") // once more changes nothing
	signers, err := os.ReadFile(filepath.Join(w.computer.dir, ".ssh", "allowed_signers"))
	if err != nil || strings.Count(string(signers), "\n") != 1 {
		t.Errorf("allowed signers: %v\n%s", err, signers)
	}
	asked := func(what, subject string, args ...string) {
		t.Helper()
		before := len(w.records())
		repo.git(args...)
		r := w.since(before, 1)[0]
		w.expect(r, "verified", what, "purpose", "git (verified)", "subject", subject+" (claimed)",
			"author", "Zoë Ex <zoe@example.com> (claimed)", "repository", "product (claimed)")
		if p := r.says("program"); !strings.HasPrefix(p, "ssh-keygen ← vmux ← git ") {
			t.Errorf("program: %q", p)
		}
	}
	asked("git commit signature (claimed)", "wire: say it", "commit", "--quiet", "--allow-empty", "-S", "-m", "wire: say it\n\nbody")
	asked("git tag signature (claimed)", "the first version", "tag", "-s", "v1", "-m", "the first version")
	asked("git commit signature (claimed)", "said better", "commit", "--quiet", "--allow-empty", "--amend", "-S", "-m", "said better")
	good := `Good "git" signature for zoe@example.com with ED25519 key ` + w.identity("ssh-ed25519").Fingerprint
	for _, args := range [][]string{{"log", "--show-signature", "-1"}, {"verify-commit", "HEAD"}, {"verify-tag", "v1"}} {
		if out := repo.git(args...); !strings.Contains(out, good) {
			t.Errorf("git %v: no %q in\n%s", args, good, out)
		}
	}
	w.computer.run("git", "setup", "--always")
	asked("git commit signature (claimed)", "always", "commit", "--quiet", "--allow-empty", "-m", "always")
	if out := repo.git("log", "--format=%G? %s"); out != "G always\nG said better\n" {
		t.Errorf("git log: %s", out)
	}
}

// A rebase signs each commit anew: with a grant one sheet is enough, and without
// each commit has its own, which names it. Commits that wait together are one.
func TestRebaseOverTwentySignedCommits(t *testing.T) {
	t.Parallel()
	w, person := askingWorld(t)
	w.waitStatus(w.identity("ssh-ed25519").Fingerprint)
	repo := w.repository("product")
	w.computer.run("git", "setup")
	for n := range 21 {
		repo.git("commit", "--quiet", "--allow-empty", "-m", fmt.Sprintf("change %d.", n))
	}
	w.phone.run("phone", "grants", "on")
	done := repo.start("rebase", "--quiet", "--force-rebase", "-S", "HEAD~20")
	person.waitCount("Approved, and the like of it for 15 minutes", 1, "g")
	if err := w.wait(done); err != nil {
		t.Error(err)
	}
	if n := person.sheets(); n != 1 {
		t.Errorf("%d sheets with a grant, want one", n)
	}
	if out := repo.git("log", "--format=%G?", "-20"); out != strings.Repeat("G\n", 20) {
		t.Errorf("git log: %s", out)
	}
	if n := w.approvals(); n != 20 {
		t.Errorf("the log has %d approvals, want 20", n)
	}
	if out := w.phone.run("phone", "grants"); !strings.Contains(out, "  git signatures  key ssh-ed25519  for 1") {
		t.Errorf("vmux phone grants: %s", out)
	}
	w.phone.run("phone", "grants", "off")
	done = repo.start("rebase", "--quiet", "--force-rebase", "-S", "HEAD~20")
	for n := 1; n <= 20; n++ {
		person.waitCount("asks: git commit signature (claimed)", 1+n, "")
		person.waitCount(fmt.Sprintf("  subject   change %d.", n), 1, "")
		person.waitCount("Approved.", n, "y")
	}
	if err := w.wait(done); err != nil {
		t.Error(err)
	}
	if n := person.sheets(); n != 1+20 {
		t.Errorf("%d sheets without a grant, want one for each of twenty", n-1)
	}
	if out := repo.git("log", "--format=%G?", "-20"); out != strings.Repeat("G\n", 20) {
		t.Errorf("git log after the second rebase: %s", out)
	}
	commitsAtOnce(t, repo, person)
}

// commitsAtOnce commits in several working trees at the same time.
func commitsAtOnce(t *testing.T, repo repository, person *screen) {
	sheets, approved, signed := person.sheets(), person.count("Approved."), repo.approvals()
	var done []<-chan error
	for n := range 5 {
		tree := repository{repo.world, filepath.Join(repo.computer.dir, fmt.Sprint("tree", n))}
		repo.git("worktree", "add", "--quiet", "--detach", tree.dir)
		done = append(done, tree.start("commit", "--quiet", "--allow-empty", "-S", "-m", fmt.Sprintf("beside %d.", n)))
	}
	for n := range 5 {
		waitFor(t, fmt.Sprintf("commit %d on the sheet", n), func() bool { return strings.Contains(person.text(), fmt.Sprintf("beside %d.", n)) })
	}
	person.afterAWhile("y")
	person.waitCount("Approved.", approved+1, "")
	for _, d := range done {
		if err := repo.wait(d); err != nil {
			t.Error(err)
		}
	}
	if n, of := person.sheets()-sheets, repo.approvals()-signed; n != 1 || of != 5 {
		t.Errorf("%d sheets for %d commits, want one for five", n, of)
	}
}

// Whatever git calls its signing program for but signing with a phone-held key is
// what ssh-keygen does, to the letter.
func TestGitSignIsSSHKeygen(t *testing.T) {
	t.Parallel()
	h := newHome(t) // where no agent runs
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		dir := t.TempDir()
		key := filepath.Join(dir, "key")
		o.Keygen(t, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key)
		public, err := os.ReadFile(key + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		write := func(name, text string) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		signers, message := write("signers", "me@example.com "+string(public)), write("message", "text")
		vmux, err := program()
		if err != nil {
			t.Fatal(err)
		}
		run := func(program, input string, args ...string) (string, int) {
			cmd := h.commandOf(deadline(t), program, args...)
			cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(o.SSHKeygen)+":/usr/bin:/bin")
			cmd.Stdin = strings.NewReader(input)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			_ = cmd.Run()
			return out.String(), cmd.ProcessState.ExitCode()
		}
		if out, status := run(vmux, "", "git-sign", "-Y", "sign", "-n", "git", "-f", key, message); status != 0 {
			t.Fatalf("sign: %d, %s", status, out)
		}
		sig := message + ".sig"
		bad := write("bad.sig", "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n")
		for _, test := range []struct {
			input  string
			status int
			args   []string
		}{
			{"text", 0, []string{"-Y", "verify", "-n", "git", "-f", signers, "-I", "me@example.com", "-s", sig}},
			{"other", 255, []string{"-Y", "verify", "-n", "git", "-f", signers, "-I", "me@example.com", "-s", sig}},
			{"text", 255, []string{"-Y", "verify", "-n", "git", "-f", signers, "-I", "you@example.com", "-s", sig}},
			{"", 0, []string{"-Y", "find-principals", "-f", signers, "-s", sig, "-Overify-time=20260101000000"}},
			{"", 255, []string{"-Y", "find-principals", "-f", signers, "-s", bad}},
			{"text", 0, []string{"-Y", "check-novalidate", "-n", "git", "-s", sig}},
			{"other", 255, []string{"-Y", "check-novalidate", "-n", "git", "-s", sig}},
			{"", 1, []string{"-Y", "no-such-thing"}},
			{"", 255, []string{"-Y", "sign", "-n", "git", "-f", filepath.Join(dir, "missing"), message}},
		} {
			out, status := run(vmux, test.input, append([]string{"git-sign"}, test.args...)...)
			wantOut, want := run(o.SSHKeygen, test.input, test.args...)
			// A usage text names the program by the path that it was called by.
			if out = strings.ReplaceAll(out, o.SSHKeygen, "ssh-keygen"); status != want || out != strings.ReplaceAll(wantOut, o.SSHKeygen, "ssh-keygen") {
				t.Errorf("%v: got %d, %q\nssh-keygen has %d, %q", test.args[:2], status, out, want, wantOut)
			}
			if status != test.status {
				t.Errorf("%v: status %d, want %d", test.args, status, test.status)
			}
		}
	})
}

// A repository's own configuration goes before the user's; and where git cannot write one of
// the settings, those before it can be taken back.
func TestGitSetupBesideOtherSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ssh-ed25519")
	repo := w.repository("product")
	setUp := func(args ...string) (string, error) {
		t.Helper()
		cmd := w.computer.command(deadline(t), append([]string{"git", "setup"}, args...)...)
		cmd.Dir = repo.dir
		_, stderr, err := finish(cmd)
		return stderr, err
	}
	repo.git("config", "gpg.format", "openpgp")
	if said, err := setUp(); err != nil || !strings.Contains(said, "this repository has its own gpg.format, openpgp, and goes on with that\nhint: vmux git setup --local\n") {
		t.Errorf("%v\n%s", err, said)
	}
	if said, err := setUp("--local"); err != nil || strings.Contains(said, "goes on with that") {
		t.Errorf("--local: %v\n%s", err, said)
	}
	repo.git("commit", "-qS", "--allow-empty", "-m", "signed")
	for _, scope := range [][]string{{"--undo", "--local"}, {"--undo"}} {
		if said, err := setUp(scope...); err != nil {
			t.Fatalf("%v: %v\n%s", scope, err, said)
		}
	}
	repo.git("config", "--global", "--add", "user.signingkey", "A")
	repo.git("config", "--global", "--add", "user.signingkey", "B")
	before := repo.git("config", "--global", "--list")
	said, err := setUp()
	if err == nil || !strings.Contains(said, "cannot overwrite multiple values with a single value; ") || !strings.HasSuffix(said, "\nhint: take back what was written until then: vmux git setup --undo\n") {
		t.Errorf("a setting with two values: %v\n%s", err, said)
	}
	if said, err := setUp("--undo"); err != nil || strings.Contains(said, "has been changed") {
		t.Errorf("--undo: %v\n%s", err, said)
	}
	if after := repo.git("config", "--global", "--list"); after != before {
		t.Errorf("after --undo:\n%s\nbefore:\n%s", after, before)
	}
	if b, err := os.ReadFile(filepath.Join(w.computer.dir, ".ssh", "allowed_signers")); err != nil || len(b) != 0 {
		t.Errorf("allowed signers: %v\n%s", err, b)
	}
}
