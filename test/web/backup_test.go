package web

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/signer/transfer"
	"vmux/internal/sshdtest"
)

const backupPassphrase = "K7QXM-2VDTA-ZB4HP-N6RWC"

// A key of the app's vault logs in from a native phone that has restored the app's backup.
func TestBackupOfTheAppLogsInNatively(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.page.MustCall("createVault", map[string]any{"label": "work", "algorithm": "ssh-ed25519"}, nil)
	w.page.MustCall("createPasskey", map[string]any{"label": "face"}, nil)
	line := w.page.Identity("work").PublicKey
	var made transfer.Made
	if err := w.page.Run("return await core.call('makeBackup', {}, '"+backupPassphrase+"');", &made); err != nil {
		t.Fatal(err)
	}
	if len(made.Missing) != 1 || made.Missing[0].Label != "face" {
		t.Errorf("not in the backup: %+v", made.Missing)
	}

	dir := t.TempDir()
	file := writeSecret(t, dir, "app.age", string(made.File))
	pass, keys := writeSecret(t, dir, "backup.pass", backupPassphrase), writeSecret(t, dir, "keys.pass", "the native keys'")
	phone := filepath.Join(dir, "p")
	native := func(args ...string) *exec.Cmd {
		cmd := w.agent.Vmux(deadline(t), args...)
		cmd.Env = append(cmd.Environ(), "VMUX_HOME="+phone, "HOME="+dir)
		return cmd
	}
	vmux := func(args ...string) string {
		out, err := native(args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	out := vmux("phone", "restore", file, "--passphrase-file", pass, "--key-passphrase-file", keys)
	if !strings.Contains(out, "work  is restored") || !strings.Contains(out, "face  is not in the backup") {
		t.Errorf("restore says %s", out)
	}
	again := filepath.Join(dir, "native.age")
	vmux("phone", "backup", again, "--passphrase-file", pass, "--key-passphrase-file", keys)
	if public := vmux("phone", "identity", "export", "work"); strings.Fields(public)[1] != strings.Fields(line)[1] {
		t.Errorf("the native key is %s, was %s", public, line)
	}

	o := sshdtest.Old(t)
	server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{line}})
	invitation, paired := w.agent.Invite()
	vmux("phone", "pair", invitation)
	paired()
	run := native("phone", "run", "--approve", "always", "--passphrase-file", keys, "--listen", "127.0.0.1:0")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run.Process.Signal(os.Interrupt); _ = run.Wait() })
	waitFor(t, "the native phone is connected", func() bool { return strings.Count(w.agent.MustVmux("devices"), "connected since") == 2 })
	if out, err := finish(server.Command(deadline(t), t, o, w.agent.Socket, "echo", "in"), func() {}); err != nil || strings.TrimSpace(out) != "in" {
		t.Errorf("%v\n%s\n%s", err, out, w.agent.Log()) // nobody approves in the app
	}

	// And the native phone's backup logs in from an app that has never seen the key.
	b, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	other := newWorld(t)
	if err := other.page.Run("return await core.call('openBackup', {backup: '"+base64.StdEncoding.EncodeToString(b)+"'}, '"+backupPassphrase+"');", nil); err != nil {
		t.Fatal(err)
	}
	other.page.MustCall("restoreBackup", map[string]any{"kind": "vault"}, nil)
	other.listed(t)
	if out, err := finish(server.Command(deadline(t), t, o, other.agent.Socket, "echo", "in"), other.page.ApproveNext); err != nil || strings.TrimSpace(out) != "in" {
		t.Errorf("%v\n%s\n%s\n%s", err, out, server.Log(), other.agent.Log())
	}
}

func writeSecret(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
