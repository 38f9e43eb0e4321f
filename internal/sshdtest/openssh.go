// Package sshdtest runs real OpenSSH programs for tests and measurements: the
// machine's own and a current one beside it, private servers on loopback
// ports, clients that never look into the user's ~/.ssh, and plain ssh-agents
// to compare with.
//
// It is no part of the product: nothing outside tests and benchmarks may
// import it. A program that is missing fails the test with the command that
// installs it.
package sshdtest

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
)

// TB is what this package needs of a test: *testing.T, *testing.B, or a
// benchmark program's own.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
	TempDir() string
}

// OpenSSH is one installed set of OpenSSH programs, each by its absolute path.
type OpenSSH struct {
	Name    string // "old" or "new", for the names of subtests
	Version string // as the program says it, e.g. "9.2p1"

	SSH, SCP, SFTP              string
	SSHAdd, SSHAgent, SSHKeygen string
	SSHD, SFTPServer            string

	// The programs that sshd runs for each connection, since 9.8; empty where
	// sshd finds them by itself.
	sshdSession, sshdAuth string
}

//go:embed fetch-openssh.sh
var fetchScript []byte

// newDir is where fetch-openssh.sh unpacks to. It is found out before any test
// can change HOME.
var newDir = filepath.Join(cacheDir(), "openssh-"+scriptHash())

// Old returns the machine's own OpenSSH, which on Debian 12 is 9.2.
func Old(t TB) OpenSSH {
	t.Helper()
	libexec := "/usr/lib/openssh"
	if runtime.GOOS == "darwin" {
		libexec = "/usr/libexec"
	}
	o := OpenSSH{Name: "old"}
	o.locate("/usr/bin", "/usr/sbin", libexec)
	o.check(t)
	return o
}

// New returns the current OpenSSH that `make setup` fetches: 10.3 or newer, in
// a cache folder of the user's.
func New(t TB) OpenSSH {
	t.Helper()
	if _, err := os.Stat(filepath.Join(newDir, "complete")); err != nil {
		t.Fatalf("OpenSSH 10.3 or newer is not in %s: run make setup", newDir)
	}
	o := OpenSSH{Name: "new"}
	libexec := filepath.Join(newDir, "usr/lib/openssh")
	o.locate(filepath.Join(newDir, "usr/bin"), filepath.Join(newDir, "usr/sbin"), libexec)
	o.sshdSession = filepath.Join(libexec, "sshd-session")
	o.sshdAuth = filepath.Join(libexec, "sshd-auth")
	o.check(t)
	if !o.AtLeast(10, 3) {
		t.Fatalf("%s is OpenSSH %s, not 10.3 or newer: remove %s and run make setup", o.SSH, o.Version, newDir)
	}
	return o
}

// Both returns Old and New, in this order.
func Both(t TB) []OpenSSH {
	t.Helper()
	return []OpenSSH{Old(t), New(t)}
}

// AtLeast reports whether the version is major.minor or newer.
func (o OpenSSH) AtLeast(major, minor int) bool {
	m := versionPattern.FindStringSubmatch("OpenSSH_" + o.Version)
	if m == nil {
		return false
	}
	a, _ := strconv.Atoi(m[2])
	b, _ := strconv.Atoi(m[3])
	return a > major || a == major && b >= minor
}

func (o *OpenSSH) locate(bin, sbin, libexec string) {
	o.SSH = filepath.Join(bin, "ssh")
	o.SCP = filepath.Join(bin, "scp")
	o.SFTP = filepath.Join(bin, "sftp")
	o.SSHAdd = filepath.Join(bin, "ssh-add")
	o.SSHAgent = filepath.Join(bin, "ssh-agent")
	o.SSHKeygen = filepath.Join(bin, "ssh-keygen")
	o.SSHD = filepath.Join(sbin, "sshd")
	o.SFTPServer = filepath.Join(libexec, "sftp-server")
}

// check finds out the version and that every program is there.
func (o *OpenSSH) check(t TB) {
	t.Helper()
	programs := []string{o.SSH, o.SCP, o.SFTP, o.SSHAdd, o.SSHAgent, o.SSHKeygen, o.SSHD, o.SFTPServer}
	if o.sshdSession != "" {
		programs = append(programs, o.sshdSession, o.sshdAuth)
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s: %v: run make setup", program, err)
		}
	}
	out, err := exec.Command(o.SSH, "-V").CombinedOutput()
	m := versionPattern.FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("%s -V: %v: %s", o.SSH, err, bytes.TrimSpace(out))
	}
	o.Version = string(m[1])
}

var versionPattern = regexp.MustCompile(`OpenSSH_((\d+)\.(\d+)[^ ,]*)`)

// cacheDir is fetch-openssh.sh's cache folder, by the same rule.
func cacheDir() string {
	if dir := os.Getenv("VMUX_TEST_CACHE"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "vmux-test")
	}
	return filepath.Join(os.Getenv("HOME"), ".cache", "vmux-test")
}

func scriptHash() string {
	sum := sha256.Sum256(fetchScript)
	return fmt.Sprintf("%.12s", hex.EncodeToString(sum[:]))
}
