package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"vmux/internal/wire"
)

func open(t *testing.T) *Dir {
	t.Helper()
	d, err := OpenDir(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDocumentsAreKeptPrivately(t *testing.T) {
	d := open(t)
	if b, err := d.Get("a.json"); b != nil || err != nil {
		t.Fatalf("a document that is not there: %q, %v", b, err)
	}
	for _, text := range []string{"one", "two"} {
		if err := d.Put("keys/a.json", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if b, err := d.Get("keys/a.json"); string(b) != text || err != nil {
			t.Fatalf("got %q, %v; want %q", b, err, text)
		}
	}
	info, err := os.Stat(filepath.Join(d.Path(), "keys", "a.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if names, err := d.List("keys/"); err != nil || len(names) != 1 || names[0] != "keys/a.json" {
		t.Errorf("listed %v, %v", names, err)
	}
	if err := d.Delete("keys/a.json"); err != nil {
		t.Error(err)
	}
	if b, err := d.Get("keys/a.json"); b != nil || err != nil {
		t.Errorf("deleted, and yet %q, %v", b, err)
	}
}

// Keys pass through no folder that others use, not even for a moment.
func TestDocumentsAreWrittenNowhereElse(t *testing.T) {
	d, shared, before := open(t), t.TempDir(), time.Unix(1e9, 0)
	t.Setenv("TMPDIR", shared)
	if err := os.Chtimes(shared, before, before); err != nil {
		t.Fatal(err)
	}
	if err := d.Put("keys/a.json", []byte("one")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(shared); err != nil || !info.ModTime().Equal(before) {
		t.Errorf("the folder for temporary files was written to at %v, %v", info.ModTime(), err)
	}
}

func TestNamesStayInTheFolder(t *testing.T) {
	d := open(t)
	for _, name := range []string{"", "..", "../a", "a/../../b", "/etc/passwd", "a/b/c", ".lock", "a b", "a\x00"} {
		if err := d.Put(name, nil); err == nil {
			t.Errorf("wrote a document named %q", name)
		}
	}
}

func TestLockKeepsOthersOut(t *testing.T) {
	d := open(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			unlock, err := d.Lock()
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			b, _ := d.Get("n")
			if err := d.Put("n", append(b, 'x')); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if b, _ := d.Get("n"); len(b) != 20 {
		t.Errorf("%d of 20 changes were kept", len(b))
	}
}

// One process owns the folder; whoever comes meanwhile learns who it is, and can read.
func TestOneOwner(t *testing.T) {
	d := open(t)
	release, err := d.Own("vmux phone run")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Put("n", []byte("x")); err != nil {
		t.Fatal(err)
	}
	other, err := OpenDir(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	var owned *Owned
	if _, err := other.Own("vmux phone log"); !errors.As(err, &owned) || !strings.Contains(err.Error(), fmt.Sprintf("process %d, vmux phone run", os.Getpid())) {
		t.Errorf("a second owner: %v", err)
	}
	if owned.Hint() != "" {
		t.Errorf("on this machine: %s", owned.Hint())
	}
	if err := os.WriteFile(filepath.Join(d.Path(), ownerFile), []byte("process 12, vmux agent\nanother-machine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Own("vmux agent"); !errors.As(err, &owned) || !strings.HasPrefix(err.Error(), "process 12, vmux agent on another-machine, has ") || owned.Hint() == "" {
		t.Errorf("an owner on another machine: %v", err)
	}
	read := other.ReadOnly(fs.ErrPermission)
	if b, err := read.Get("n"); string(b) != "x" || err != nil {
		t.Errorf("read beside the owner: %q, %v", b, err)
	}
	_, aside := read.SetAside("n", time.Now())
	for name, err := range map[string]error{
		"put": read.Put("n", nil), "append": read.Append("n", []byte("y")), "delete": read.Delete("n"), "set aside": aside, "save": read.File("n").Save(nil),
	} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s in a folder to be read alone: %v", name, err)
		}
	}
	release()
	release, err = other.Own("vmux phone log")
	if err != nil {
		t.Fatalf("after the first one: %v", err)
	}
	release()
}

func TestHomeFollowsItsVariables(t *testing.T) {
	t.Setenv("VMUX_HOME", "/x")
	h, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	if s, err := h.AgentSocket(); s != "/x/agent.sock" || err != nil {
		t.Errorf("socket %q, %v", s, err)
	}
	t.Setenv("VMUX_HOME", "/"+strings.Repeat("x", 200))
	h, _ = Find()
	if _, err := h.AgentSocket(); err == nil {
		t.Error("a socket's path of over 200 bytes was taken")
	}
	t.Setenv("VMUX_HOME", "relative")
	if _, err := Find(); err == nil {
		t.Error("a relative VMUX_HOME was taken")
	}
}

func TestConfigurationFileFollowsItsVariables(t *testing.T) {
	user := t.TempDir()
	t.Setenv("HOME", user)
	usual, err := configFolder()
	if err != nil || !strings.HasPrefix(usual, user) {
		t.Fatalf("folder for configurations %q, %v", usual, err)
	}
	for _, test := range []struct{ home, xdg, want string }{
		{"/x", "/y", "/x/config.toml"}, // a home of its own has all of its files
		{"", "/y", "/y/vmux/config.toml"},
		{"", "relative", filepath.Join(usual, "vmux/config.toml")},
		{"", "", filepath.Join(usual, "vmux/config.toml")},
	} {
		t.Setenv("VMUX_HOME", test.home)
		t.Setenv("XDG_CONFIG_HOME", test.xdg)
		h, err := Find()
		if err != nil {
			t.Fatal(err)
		}
		if path, err := h.ConfigFile(); path != test.want || err != nil {
			t.Errorf("VMUX_HOME %q, XDG_CONFIG_HOME %q: %q, %v", test.home, test.xdg, path, err)
		}
	}
}

func TestFoldersThatOthersCanChangeAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o770, 0o702, 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := OpenDir(path)
		if wire.HintOf(err) != "chmod 700 "+path {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDir(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a folder that others could read is left at %v, %v", info.Mode(), err)
	}
}

func TestPassphraseFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p")
	for _, test := range []struct {
		text, want string
		mode       os.FileMode
	}{
		{"secret\n", "secret", 0o600},
		{"secret", "secret", 0o400},
		{" two words \r\n", " two words ", 0o600},
		{"secret\n", "", 0o640},
		{"secret\n", "", 0o604},
		{"", "", 0o600},
		{"\n", "", 0o600},
		{"secret\nmore\n", "", 0o600},
		{strings.Repeat("x", maxSecret), strings.Repeat("x", maxSecret), 0o600},
		{strings.Repeat("x", maxSecret+1), "", 0o600},
		{strings.Repeat("x", 3*maxSecret), "", 0o600},
	} {
		_ = os.Remove(path)
		if err := os.WriteFile(path, []byte(test.text), test.mode); err != nil {
			t.Fatal(err)
		}
		got, err := ReadSecret(path)
		if string(got) != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%.20q, mode %v: %.20q, %v", test.text, test.mode, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}
