//go:build linux

package test

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"vmux/internal/sshdtest"
)

// sudoScript makes a machine called web-1 of this one's files, with a user ada, who may use
// sudo as docs/sudo.md has it. In a user namespace sudo's files, and each folder above
// authorized_keys, have to be of that one's root.
const sudoScript = `
set -e
here=$PWD root=/mnt
mount -t tmpfs -o mode=755 tmpfs $root
for path in /*; do
	if [ -L "$path" ]; then
		cp -P "$path" $root
	elif [ -d "$path" ] && [ "$path" != /etc ] && [ "$path" != $root ]; then
		mkdir "$root$path"
		mount --rbind "$path" "$root$path"
	fi
done
cp -rP /etc $root 2>/dev/null || true # all but what only root may read
mount -t tmpfs -o mode=755 tmpfs $root/run
mkdir -p $root/run/sshd $root/run/ada $root/libexec.sudo
chown 1:1 $root/run/ada
cp /usr/bin/sudo $root/sudo && chmod 4755 $root/sudo && mount --bind $root/sudo $root/usr/bin/sudo
cp -r /usr/libexec/sudo/. $root/libexec.sudo && mount --bind $root/libexec.sudo $root/usr/libexec/sudo
cd $root/etc
sed -i 's!^daemon:.*!ada:x:1:1::/run/ada:/bin/sh!' passwd
rm -f shadow sudoers && printf '%s:*:19000:0:99999:7:::\n' root ada games >shadow
sed -i "1i $PAM_LINE" pam.d/sudo
{ echo "$SUDOERS_LINE"; echo 'ada ALL=(ALL:ALL) ALL'; } >sudoers && chmod 440 sudoers
hostname web-1
echo '127.0.0.1 localhost web-1' >hosts
exec chroot $root sh -c 'cd "$0" && exec "$@"' "$here" "$0" -test.run='^TestSudoInside$' -test.v -test.timeout=540s
`

// TestSudo: real sudo and Debian's pam_ssh_agent_auth, set up by the lines of docs/sudo.md.
func TestSudo(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/sudo.md")
	if err != nil {
		t.Fatal(err)
	}
	line := func(begin string) string {
		t.Helper()
		found := regexp.MustCompile("(?m)^    (" + begin + " .*)$").FindSubmatch(page)
		if found == nil {
			t.Fatalf("docs/sudo.md has no line %q", begin)
		}
		return string(found[1])
	}
	for _, needed := range []string{"newuidmap", "sudo"} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Fatalf("%v: run `make setup`", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	args := []string{"--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"}
	if os.Getuid() != 0 {
		args = append(args, "--user", "--map-root-user", "--map-auto")
	}
	c := exec.CommandContext(ctx, "unshare", append(args, "sh", "-c", sudoScript, os.Args[0])...)
	c.Env = append(os.Environ(), "VMUX_TEST_SUDO=1", "PAM_LINE="+line("auth"), "SUDOERS_LINE="+line("Defaults"))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// allows names the one key whose owner sudo lets pass, and who may log in as ada.
func (w *world) allows(label string) {
	w.Helper()
	if err := os.WriteFile("/etc/security/authorized_keys", []byte(w.identity(label).PublicKey+"\n"), 0o644); err != nil {
		w.Fatal(err)
	}
}

// sudo is ada's `sudo ARGS…` on this machine, without a terminal for a password.
func (w *world) sudo(args ...string) (stdout, stderr string, err error) {
	w.Helper()
	cmd := exec.CommandContext(deadline(w), "sudo", append([]string{"-k"}, args...)...)
	cmd.Dir, cmd.Env = "/run/ada", []string{"PATH=/usr/bin:/bin", "SSH_AUTH_SOCK=" + w.computer.socket()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinary, Gid: ordinary}}
	return finish(cmd)
}

func TestSudoInside(t *testing.T) {
	if os.Getenv("VMUX_TEST_SUDO") == "" {
		return // nothing of its own
	}
	w := hubless(t, "ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")
	w.computer.as(ordinary)
	w.startPhone()
	w.startAgent()
	w.pair()
	w.requestCertificate() // is listed as well, and signs nothing for sudo

	for _, label := range []string{"ssh-ed25519", "ecdsa-sha2-nistp256"} {
		w.allows(label)
		before := len(w.records())
		if out, stderr, err := w.sudo("-u", "games", "id", "-un"); err != nil || out != "games\n" {
			t.Fatalf("sudo by %s: %q, %v, %s", label, out, err, stderr)
		}
		r := w.since(before, 1)[0]
		w.expect(r, "claimed", "sudo on web-1 by ada (claimed)",
			"kind", "a challenge of pam_ssh_agent_auth, which logs in nowhere (verified)",
			"command", "sudo -k -u games id -un (asker)", "host", "web-1 (asker)", "folder", "/run/ada (asker)", "through", "")
		if !strings.HasPrefix(r.says("program"), "sudo ") || r.Decision != "approved" {
			t.Errorf("%s, asked by %q", r.Decision, r.says("program"))
		}
	}
	refused := func(what, code, sentence string) {
		t.Helper()
		approved := w.approvals()
		_, stderr, err := w.sudo("true")
		if exitOf(err) != 1 || !strings.Contains(stderr, "a password is required") {
			t.Errorf("%s: %v, %s", what, err, stderr)
		}
		if gotCode, got := w.lastFailure(); gotCode != code || !strings.Contains(got, sentence) {
			t.Errorf("%s: the status says %s, %q", what, gotCode, got)
		}
		if n := w.approvals() - approved; n != 0 {
			t.Errorf("%s: signed %d times", what, n)
		}
	}
	w.allows("ssh-rsa")
	refused("an RSA key", "algorithmUnsupported", "SHA-1")
	w.allows("ssh-ed25519")
	policy := func(args ...string) { w.phone.run(append([]string{"phone", "policy", "ssh-ed25519"}, args...)...) }
	policy("--forbid", "sudo")
	refused("what is forbidden", "policyDenied", "no sudo")
	policy("--clear")
	policy("--users", "ada")
	refused("a key for logins alone", "policyDenied", "no sudo")
	policy("--clear")

	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		w := &world{TB: t, computer: w.computer, phone: w.phone}
		server := o.StartServer(t, sshdtest.Config{Extra: []string{"AuthorizedKeysFile /etc/security/authorized_keys"}})
		there := func() (string, error) {
			stdout, stderr, err := finish(server.Command(deadline(t), t, o, w.computer.socket(), "-A", "-l", "ada", "sudo", "-k", "id", "-un"))
			return stdout + stderr, err
		}
		before := len(w.records())
		if out, err := there(); err != nil || out != "root\n" {
			t.Fatalf("sudo on a server: %q, %v", out, err)
		}
		r := w.since(before, 2)[1]
		w.expect(r, "claimed", "sudo on web-1 by ada (claimed)", "command", "sudo -k id -un (asker)",
			"through", sshdtest.Host+" (verified)")
		if !strings.HasPrefix(r.says("program"), "ssh ") {
			t.Errorf("asked by %q", r.says("program"))
		}
		for _, named := range []string{fingerprintOf(t, server.HostKey), sshdtest.Host} {
			policy("--sudo", named)
			if out, err := there(); err != nil || out != "root\n" {
				t.Errorf("sudo on the server that may ask as %s: %q, %v", named, out, err)
			}
		}
		other := o.StartServer(t, sshdtest.Config{})
		policy("--sudo", fingerprintOf(t, other.HostKey))
		if out, err := there(); err == nil || !strings.Contains(out, "a password is required") {
			t.Errorf("sudo on another server: %q, %v", out, err)
		}
		policy("--clear")
	})
	if _, _, err := w.sudo("-n", "true"); exitOf(err) != 1 {
		t.Errorf("sudo -n without noninteractive_auth: %v", err)
	}
	sudoers, err := os.ReadFile("/etc/sudoers")
	if err == nil {
		err = os.WriteFile("/etc/sudoers", append([]byte("Defaults noninteractive_auth\n"), sudoers...), 0o440)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := w.sudo("-n", "true"); err != nil {
		t.Errorf("sudo -n with noninteractive_auth: %v, %s", err, stderr)
	}
	policy("--sudo", "web-1")
	refused("sudo here, which calls itself as the server that may ask", "policyDenied", "no sudo but on servers")
	policy("--clear")

	// One challenge has one answer: where the phone is away, its other keys do not wait, too.
	w.phoneRun.stop()
	all := ""
	for _, i := range w.identities() {
		all += i.PublicKey + "\n"
	}
	if err := os.WriteFile("/etc/security/authorized_keys", []byte(all), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := w.sudo("true"); exitOf(err) != 1 || !strings.Contains(stderr, "a password is required") {
		t.Errorf("without a phone: %v, %s", err, stderr)
	}
	if n := strings.Count(w.agent.log(), `msg="not asked again"`); n != 2 {
		t.Errorf("of three keys %d were not asked for again", n)
	}
}
