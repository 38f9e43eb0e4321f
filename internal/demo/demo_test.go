package demo

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// built is vmux as it is shipped.
var built string

func TestMain(m *testing.M) { os.Exit(testkit.Programs(m, &built)) }

// demoProcess is `vmux demo ARGS…` as a process group of its own, with its
// scratch folder in the folder that it returns.
func demoProcess(t *testing.T, args ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	tmp, err := os.MkdirTemp("", "d") // short: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	cmd = exec.Command(built, append([]string{"demo"}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, tmp
}

// Whenever ^C comes, every process ends and the scratch folder goes.
func TestDemoInterrupted(t *testing.T) {
	for _, at := range []string{"\n1. ", "\n3. ", "\n6. ", "\n7. "} {
		t.Run("at"+strings.TrimSpace(at), func(t *testing.T) {
			cmd, tmp := demoProcess(t, "--yes")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var seen strings.Builder
			for b := make([]byte, 1024); !strings.Contains(seen.String(), at); {
				n, err := stdout.Read(b)
				if err != nil {
					cmd.Wait() // stderr is whole then
					t.Fatalf("ended before step %q: %v\n%s%s", at, err, seen.String(), &stderr)
				}
				seen.Write(b[:n])
			}
			cmd.Process.Signal(os.Interrupt)
			err = cmd.Wait()
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != wire.ExitFailed {
				t.Errorf("ended with %v, want exit status 1", err)
			}
			if !strings.Contains(stderr.String(), "vmux demo: interrupted") {
				t.Errorf("it says %q", stderr.String())
			}
			gone(t, cmd.Process.Pid, tmp)
		})
	}
}

// gone checks that no process of the group runs and that nothing lies in tmp.
func gone(t *testing.T, group int, tmp string) {
	t.Helper()
	if err := syscall.Kill(-group, 0); !errors.Is(err, syscall.ESRCH) {
		out, _ := exec.Command("ps", "-A", "-o", "pgid=,pid=,args=").Output()
		t.Errorf("processes are left (%v) in group %d:\n%s", err, group, out)
		syscall.Kill(-group, syscall.SIGKILL)
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the scratch folder: %v, %v", left, err)
	}
}

func TestDemoWithoutSSHD(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"ssh", "ssh-add", "ssh-keygen"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatalf("%v: run make setup", err)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	before := serverFolders
	serverFolders = nil
	defer func() { serverFolders = before }()
	err := Run(t.Context(), Config{Yes: true, Text: func(s string) error { return errors.New("it says " + s) }})
	if err == nil || !strings.HasSuffix(err.Error(), "needs sshd, which is not installed here") {
		t.Errorf("it fails with %v", err)
	}
	var hinted interface{ Hint() string }
	if !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "install") {
		t.Errorf("no hint how to install it: %v", err)
	}
}

// After a whole demonstration nothing that the computer or any log keeps is the
// phone's secret: not a private key, in any coding, nor the passphrase.
func TestDemoLeavesNoSecretOnTheComputer(t *testing.T) {
	cmd, tmp := demoProcess(t, "--yes", "--keep")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(tmp, "vmux-demo-*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("scratch folders: %v, %v", found, err)
	}
	dir := found[0]
	passphrase, err := os.ReadFile(filepath.Join(dir, "phone", "passphrase"))
	if err != nil {
		t.Fatal(err)
	}
	secrets := [][]byte{bytes.TrimSpace(passphrase)}
	for _, key := range privateKeys(t, filepath.Join(dir, "phone"), secrets[0]) {
		secrets = append(secrets, key, []byte(hex.EncodeToString(key)))
		for shift := range 3 { // base64 depends on where in a file the key begins
			coded := base64.StdEncoding.EncodeToString(append(make([]byte, shift), key...))
			secrets = append(secrets, []byte(coded[4:40]))
		}
	}
	deviceKeys := 0
	for path, text := range files(t, dir) {
		name, _ := filepath.Rel(dir, path)
		if strings.HasPrefix(name, "phone/") {
			continue
		}
		for _, secret := range secrets {
			if bytes.Contains(text, secret) {
				t.Errorf("%s holds a secret of the phone's", name)
			}
		}
		if strings.HasPrefix(name, "computer/") {
			deviceKeys += bytes.Count(text, []byte("PRIVATE KEY-----")) / 2
		}
	}
	if deviceKeys != 1 {
		t.Errorf("%d private keys below the agent's state, want its device key alone", deviceKeys)
	}
}

// privateKeys finds the private scalars of the key files below dir: of the
// demonstration's SSH key and of its CA.
func privateKeys(t *testing.T, dir string, passphrase []byte) (scalars [][]byte) {
	t.Helper()
	for _, text := range files(t, dir) {
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "OPENSSH PRIVATE KEY" {
				continue
			}
			key, err := ssh.ParseRawPrivateKeyWithPassphrase(pem.EncodeToMemory(block), passphrase)
			if err != nil {
				t.Fatal(err)
			}
			scalar, err := key.(*ecdsa.PrivateKey).Bytes()
			if err != nil {
				t.Fatal(err)
			}
			scalars = append(scalars, scalar)
		}
	}
	if len(scalars) != 2 {
		t.Fatalf("found %d private keys on the phone, want the identity's and the CA's", len(scalars))
	}
	return scalars
}

func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		found[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
