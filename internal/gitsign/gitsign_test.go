package gitsign

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/wire"
)

func TestParseCall(t *testing.T) {
	for _, test := range []struct {
		args string
		want Call
	}{
		{"-Y sign -n git -f /tmp/key /tmp/buffer", Call{true, "git", "/tmp/key", "sha512", "/tmp/buffer"}},
		{"-Y sign -n git -f /tmp/key -U /tmp/buffer", Call{true, "git", "/tmp/key", "sha512", "/tmp/buffer"}},
		{"-Ysign -ngit -f/tmp/key -Ohashalg=sha256 -vvv", Call{true, "git", "/tmp/key", "sha256", ""}},
		{"-Y verify -n git -f signers -I a@b -s sig", Call{false, "git", "signers", "sha512", ""}},
		{"-Y find-principals -f signers -s sig", Call{false, "", "signers", "sha512", ""}},
		{"-Y", Call{Hash: "sha512"}},
		{"", Call{Hash: "sha512"}},
	} {
		if got := ParseCall(strings.Fields(test.args)); got != test.want {
			t.Errorf("%s: got %+v", test.args, got)
		}
	}
}

// What git itself hands to its signing program is what Describe reads.
func TestDescribeWhatGitSigns(t *testing.T) {
	dir := t.TempDir()
	recorder := filepath.Join(dir, "recorder")
	script := "#!/bin/sh\nfor last; do :; done\ncp \"$last\" " + dir + "/object\nexec ssh-keygen \"$@\"\n"
	if err := os.WriteFile(recorder, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
	}
	run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", dir+"/key")
	run("git", "init", "-q", ".")
	configured := func(args ...string) []string {
		return append([]string{"-c", "user.name=Zoë Ex", "-c", "user.email=zoe@example.com", "-c", "gpg.format=ssh",
			"-c", "user.signingkey=" + dir + "/key", "-c", "gpg.ssh.program=" + recorder}, args...)
	}
	for _, test := range []struct {
		args []string
		want wire.GitObject
	}{
		{[]string{"commit", "-q", "--allow-empty", "-S", "-m", "wire: say it\n\nbody"},
			wire.GitObject{Kind: "commit", Subject: "wire: say it", Author: "Zoë Ex <zoe@example.com>", Repository: "repo"}},
		{[]string{"tag", "-s", "v1", "-m", "first \x1b[31mversion"},
			wire.GitObject{Kind: "tag", Subject: wire.Show("first \x1b[31mversion"), Author: "Zoë Ex <zoe@example.com>", Repository: "repo"}},
	} {
		run("git", configured(test.args...)...)
		object, err := os.ReadFile(dir + "/object")
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := Describe(object, "repo"); !ok || got != test.want {
			t.Errorf("%v: got %+v, %v", test.args, got, ok)
		}
	}
}

func TestDescribeOtherBytes(t *testing.T) {
	for _, object := range []string{"", "text", "tree x\nauthor y", "blob x\n\nmessage", "\n\n"} {
		if got, ok := Describe([]byte(object), "repo"); ok {
			t.Errorf("%q: got %+v", object, got)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add([]byte("tree 0\nauthor A <a@b> 1 +0000\n\nsubject\n"))
	f.Fuzz(func(t *testing.T, object []byte) {
		got, ok := Describe(object, "repo")
		if ok && (!wire.Printable(got.Subject) || !wire.Printable(got.Author)) {
			t.Errorf("not fit to be shown: %+q", got)
		}
	})
}
