package web

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/sshdtest"
)

// A server is told of a passkey with verify-required, once a login with it has worked.
func TestServerTrustsAPasskey(t *testing.T) {
	w := newWorld(t)
	w.page.MustCall("createPasskey", map[string]string{"label": "face"}, nil)
	w.listed(t)
	client, dir := sshdtest.New(t), t.TempDir()
	old, keys, bin := filepath.Join(dir, "old"), filepath.Join(dir, "keys-"+me(t)), filepath.Join(dir, "bin")
	client.Keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", old)
	server := sshdtest.Old(t).StartServer(t, sshdtest.Config{Extra: []string{"AuthorizedKeysFile " + dir + "/keys-%u " + old + ".pub"}})
	err := os.Mkdir(bin, 0o700)
	if err == nil {
		script := fmt.Sprintf("#!/bin/sh\nexec %s -F %s -o IdentityFile=%s \"$@\"\n", client.SSH, server.ClientConfig(t, ""), old)
		err = os.WriteFile(filepath.Join(bin, "ssh"), []byte(script), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := w.agent.Vmux(deadline(t), "server", "trust", sshdtest.Host)
	cmd.Env = append(cmd.Env, "PATH="+bin+":/usr/bin:/bin")
	out, err := finish(cmd, w.page.ApproveNext)
	line := strings.Join(strings.Fields(w.page.Identity("face").AuthorizedKey)[:3], " ")
	if b, readErr := os.ReadFile(keys); err != nil || readErr != nil || !strings.HasPrefix(string(b), line) || !strings.HasPrefix(line, "verify-required sk-") {
		t.Errorf("%v %v: %q, want %q\n%s", err, readErr, b, line, out)
	}
}
