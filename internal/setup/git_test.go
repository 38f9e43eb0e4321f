package setup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// git runs git as the account's person and returns what it says.
func (a *account) git(args ...string) string {
	a.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = a.home
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + a.home, "GIT_CONFIG_NOSYSTEM=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		a.t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// git signs with the phone's key and reads all of a person's own settings, which win; what
// git writes meanwhile stays, and --undo leaves every byte.
func TestGitSignsUnlessAPersonSaysOtherwise(t *testing.T) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
	for _, test := range []struct{ name, file, text string }{
		{"no file", ".gitconfig", ""},
		{"a file of their own", ".gitconfig", "[user]\n\tname = Zoë\n[core]\n\teditor = vi"},
		{"a byte order mark", ".gitconfig", byteOrderMark + "[user]\n\tname = Zoë\n"},
		{"an include of theirs", ".gitconfig", "[include]\n\tpath = ~/more\n"},
		{"the XDG folder", ".config/git/config", "[user]\n\tname = Zoë\n"},
		{"a symbolic link", "dotfiles/gitconfig", "[user]\n\tname = Zoë\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAccount(t)
			a.Parts = nil
			a.ConfigFile = filepath.Join(a.home, ".config", "vmux dir", "config.toml")
			a.Git = &Git{
				File: filepath.Join(a.home, test.file), Key: "key::" + key, Program: `/opt/a "b"\c/vmux`,
				Signers: filepath.Join(a.home, ".ssh", "allowed_signers"), Signer: `z@example.com namespaces="git" ` + key,
			}
			if test.text != "" {
				a.put(test.file, test.text, 0o644)
			}
			if strings.HasPrefix(test.file, "dotfiles") {
				a.Git.File = filepath.Join(a.home, ".gitconfig")
				if err := os.Symlink(test.file, a.Git.File); err != nil {
					t.Fatal(err)
				}
			}
			before := a.all()
			if n, left := a.setUp(); n != 3 || len(left) > 0 {
				t.Errorf("%d changes, left %v", n, left)
			}
			for name, want := range map[string]string{
				"gpg.format": "ssh", "user.signingkey": "key::" + key, "gpg.ssh.program": a.Git.Program, "gpg.ssh.allowedSignersFile": a.Git.Signers,
			} {
				if got := a.git("config", name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if n, _ := a.setUp(); n != 0 {
				t.Errorf("a second time: %d changes", n)
			}
			if left := a.undo(); len(left) > 0 || a.all() != before {
				t.Errorf("left %v\nbefore:\n%s\nafter:\n%s", left, before, a.all())
			}
			a.setUp()
			a.git("config", "--global", "user.signingkey", "mine")
			a.git("config", "--global", "--add", "include.path", "~/more")
			if got := a.git("config", "user.signingkey"); got != "mine" {
				t.Errorf("the person's key is %q", got)
			}
			if left := a.undo(); len(left) > 0 || a.git("config", "user.signingkey") != "mine" || a.git("config", "--get-all", "include.path") == "" {
				t.Errorf("left %v; %s", left, a.git("config", "--list"))
			}
		})
	}
}

// A file of git's that cannot be written, as home-manager's, is left alone, and the lines
// that belong there are told.
func TestGitsFileThatCannotBeWrittenStays(t *testing.T) {
	a := newAccount(t)
	a.Parts, a.ConfigFile = nil, filepath.Join(a.home, "config.toml")
	a.Git = &Git{File: filepath.Join(a.home, ".config", "git", "config"), Key: "ssh-ed25519 AAAA", Program: "vmux", Signers: filepath.Join(a.home, ".ssh", "allowed_signers")}
	a.put("store/gitconfig", "[user]\n\tname = Zoë\n", 0o444)
	a.put(".config/git/ignore", "", 0o644)
	if err := os.Symlink("../../store/gitconfig", a.Git.File); err != nil {
		t.Fatal(err)
	}
	before := a.all()
	n, left := a.setUp()
	if n != 1 || len(left) != 1 || left[0].Path != a.Git.File || !strings.Contains(left[0].Text, gitInclude) {
		t.Errorf("%d changes, left %v", n, left)
	}
	if a.undo(); a.all() != before {
		t.Errorf("after undo:\n%s", a.all())
	}
}
