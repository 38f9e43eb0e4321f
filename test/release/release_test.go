//go:build linux

// Package release tests what `make release` makes, as whoever installs it meets it.
package release

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/andybalholm/brotli"

	"vmux/internal/testkit"
)

const (
	platform = "linux/amd64" // one is enough here; make lint builds for all
	url      = "https://example.org/vmux"
)

// must runs a program in a folder, and returns what it says.
func must(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v (make setup installs what is missing)\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// made is a release in the folder of its checkout, and the packages of the one before it.
type made struct{ dir, folder, before, key string }

var (
	once     sync.Once
	released made
	scratch  string
)

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "vmux-release-test-"); err != nil {
		panic(err)
	}
	status := m.Run()
	os.RemoveAll(scratch)
	os.Exit(status)
}

// madeRelease makes the release before, 0.0.9, and the one of the tree as it is now, signed
// by a key that a phone holds; once for all tests.
func madeRelease(t *testing.T) made {
	t.Helper()
	once.Do(func() {
		dir := checkout(t)
		seed(t, dir)
		pub := phoneKey(t, dir)
		r := made{dir: dir, key: pub, before: filepath.Join(scratch, "before")}
		must(t, dir, "git", "checkout", "-q", "v0.0.9")
		if err := os.Rename(makeRelease(t, dir, "022"), r.before); err != nil {
			t.Fatal(err)
		}
		must(t, dir, "git", "checkout", "-q", "-")
		r.folder = makeRelease(t, dir, "022", "-key", pub)
		released = r
	})
	if released.folder == "" {
		t.Fatal("there is no release: see the test that was to make it")
	}
	return released
}

// checkout is a commit of the tree as it is now, after one of another version with other
// files, with the web app compressed quickly: at full strength that takes most of a minute.
func checkout(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(scratch, "vmux")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, "../..", "sh", "-c", `git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh | tar --null -T - -c | tar -C "$1" -x`, "sh", dir)
	const now = `git add --all && git -c user.name=releaser -c user.email=releaser@example.org -c commit.gpgsign=false commit -q -m`
	must(t, dir, "sh", "-euc", `git init -q
sed -i 's/^const Version = .*/const Version = "0.0.9"/' internal/cli/command/*.go
echo before >docs/of-before.md
sed -i '/NoNewPrivileges/d' internal/setup/vmux-agent.service packaging/vmux-hub.service
echo '# of before' >>packaging/vmux-hub.default
`+now+` before
git tag v0.0.9
git checkout -q -b now
rm docs/of-before.md`)
	must(t, "../..", "sh", "-euc", `cp internal/cli/command/*.go "$1/internal/cli/command" && cp internal/setup/vmux-agent.service "$1/internal/setup" && cp packaging/vmux-hub.* "$1/packaging"`, "sh", dir)
	must(t, dir, "sh", "-euc", now+" now")
	return dir
}

// phoneKey starts an agent and a phone that this program's own tree makes, until the test
// ends, and returns the file with the public key that the phone holds.
func phoneKey(t *testing.T, dir string) string {
	t.Helper()
	home := filepath.Join(scratch, "home")
	program := filepath.Join(scratch, "vmux-of-releaser")
	must(t, dir, "go", "build", "-o", program, "./cmd/vmux")
	for _, name := range []string{"", "agent", "phone"} {
		if err := os.Mkdir(filepath.Join(home, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(home, "agent", "agent.sock"))
	start := func(who string, args ...string) {
		log, err := os.Create(filepath.Join(home, who+".log"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, args...)
		cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), "VMUX_HOME="+filepath.Join(home, who)), log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait(); log.Close() })
	}
	if err := os.WriteFile(filepath.Join(home, "secret"), []byte("secret phrase\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, home, "env", "VMUX_HOME="+filepath.Join(home, "phone"), program, "phone", "identity", "create", "--label", "release", "--passphrase-file", "secret")
	start("agent", "agent", "--lan=false")
	start("phone", "phone", "run", "--approve", "always", "--passphrase-file", filepath.Join(home, "secret"), "--listen", "127.0.0.1:0")
	testkit.WaitFor(t, "the phone", func() bool { return strings.Contains(read(t, filepath.Join(home, "phone.log")), "istening") })
	agent := "VMUX_HOME=" + filepath.Join(home, "agent")
	testkit.WaitFor(t, "the agent", func() bool { return exec.Command("env", agent, program, "devices").Run() == nil })
	must(t, home, "sh", "-euc", `mkfifo invitation
exec 3<>invitation
VMUX_HOME=$PWD/agent "$1" pair --json --address 127.0.0.1 >invitation 2>pair.log &
head -n 1 <&3 | sed 's/.*"invitation":"\([^"]*\)".*/\1/' | VMUX_HOME=$PWD/phone "$1" phone pair -
wait`, "sh", program)
	pub := filepath.Join(home, "release.pub")
	testkit.WaitFor(t, "the key", func() bool {
		out, err := exec.Command("ssh-add", "-L").Output()
		return err == nil && os.WriteFile(pub, out, 0o600) == nil
	})
	return pub
}

// seed puts the web app's signer there, so that it is found to be the one that is built.
func seed(t *testing.T, dirs ...string) {
	t.Helper()
	to := t.TempDir()
	must(t, dirs[0], "go", "run", "./web/phone/build", "-plain", "-to", to)
	wasm, err := os.ReadFile(filepath.Join(to, "vmux.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	var gz, br bytes.Buffer
	z, _ := gzip.NewWriterLevel(&gz, gzip.BestSpeed)
	b := brotli.NewWriterLevel(&br, brotli.BestSpeed)
	_, err1 := z.Write(wasm)
	_, err2 := b.Write(wasm)
	if err := first(err1, err2, z.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		dist := filepath.Join(dir, "web", "phone", "dist", "vmux.wasm")
		if err := first(os.WriteFile(dist+".gz", gz.Bytes(), 0o644), os.WriteFile(dist+".br", br.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

func first(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// makeRelease makes a release in a checkout, and returns its folder.
func makeRelease(t *testing.T, dir, umask string, flags ...string) string {
	t.Helper()
	args := append([]string{"-c", "umask " + umask + `; exec make -s release RELEASEFLAGS="$*"`, "sh", "-platforms", platform, "-url", url}, flags...)
	must(t, dir, "sh", args...)
	return filepath.Join(dir, "release")
}

// one is the only file of a folder by a pattern.
func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v %v", pattern, found, err)
	}
	return found[0]
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A release comes out with the same bytes in two folders, of two people with other
// settings; whoever has the releaser's key verifies it; its packages do what a person with
// Debian or Fedora, and a packager, expect.
func TestRelease(t *testing.T) {
	r := madeRelease(t)
	release := r.folder
	above := t.TempDir()
	clone := filepath.Join(above, "elsewhere", "deeper")
	must(t, r.dir, "git", "clone", "-q", ".", clone)
	must(t, r.dir, "sh", "-euc", `cp web/phone/dist/* "$1/web/phone/dist"`, "sh", clone)
	t.Setenv("GOFLAGS", "-buildvcs=false -ldflags=-X=main.x=y")
	t.Setenv("GOAMD64", "v2")
	// What a person has set for all builds, and a workspace of which the clone is no part.
	settings := filepath.Join(above, "settings")
	if err := first(os.WriteFile(settings, []byte("GOFLAGS=-tags=theirs\nGOPROXY="+strings.TrimSpace(must(t, "", "go", "env", "GOPROXY"))+"\n"), 0o600),
		os.WriteFile(filepath.Join(above, "go.work"), []byte("go 1.26\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOENV", settings)
	again := makeRelease(t, clone, "077")
	t.Run("reproducible", func(t *testing.T) {
		if a, b := read(t, filepath.Join(release, "SHA256SUMS")), read(t, filepath.Join(again, "SHA256SUMS")); a != b || strings.Count(a, "\n") < 11 {
			t.Errorf("the first time\n%sand the second\n%s", a, b)
		}
	})
	t.Run("signed", func(t *testing.T) { testSignature(t, release, r.key) })
	t.Run("bill of materials", func(t *testing.T) { testSBOM(t, release) })
	t.Run("lintian", func(t *testing.T) { testLintian(t, release) })
	t.Run("another folder", func(t *testing.T) { testOtherFolder(t, r.dir) })
	t.Run("units", func(t *testing.T) { testUnits(t, release) })
	t.Run("rpm", func(t *testing.T) { testRPM(t, release) })
	t.Run("recipes", func(t *testing.T) { testRecipes(t, release) })
	t.Run("deb", func(t *testing.T) { testDebian(t, r) })
}

// Debian's own checker has nothing to say, but that Go's programs hold their libraries; what
// it takes for misspelt are words of those.
func testLintian(t *testing.T, release string) {
	out := must(t, release, "sh", "-c", "lintian --allow-root --fail-on none --suppress-tags statically-linked-binary,spelling-error-in-binary *.deb 2>&1")
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "N: ") && !strings.HasPrefix(line, "running with root") {
			t.Error(line)
		}
	}
}

// A folder with something else in it, such as one's own, is not emptied for a release.
func testOtherFolder(t *testing.T, dir string) {
	folder := t.TempDir()
	letter := filepath.Join(folder, "letter")
	if err := os.WriteFile(letter, []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "-C", "tools", "run", "./release", "-to", folder, "-platforms", "linux/none")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "letter, which is of no release: name another folder") {
		t.Errorf("%v: %s", err, out)
	}
	read(t, letter)
}

func testSignature(t *testing.T, release, key string) {
	signers := filepath.Join(t.TempDir(), "allowed_signers")
	if err := os.WriteFile(signers, []byte(`releaser@example.org namespaces="file" `+read(t, key)), 0o600); err != nil {
		t.Fatal(err)
	}
	verify := `ssh-keygen -Y verify -f "$1" -I releaser@example.org -n file -s SHA256SUMS.sig`
	must(t, release, "sh", "-c", verify+" < SHA256SUMS && sha256sum --check SHA256SUMS", "sh", signers)
	if err := exec.Command("sh", "-c", "cd "+release+" && (cat SHA256SUMS; echo) | "+verify, "sh", signers).Run(); err == nil {
		t.Error("a list that was changed is verified")
	}
}

// The list has what go.mod requires for that program, and its revision.
func testSBOM(t *testing.T, release string) {
	var bom struct {
		Format   string `json:"bomFormat"`
		Metadata struct {
			Component struct {
				Name       string
				Properties []struct{ Name, Value string }
			}
		}
		Components []struct{ Name, Version, Purl string }
	}
	if err := json.Unmarshal([]byte(read(t, one(t, release, "vmux_*.cdx.json"))), &bom); err != nil {
		t.Fatal(err)
	}
	required := regexp.MustCompile(`golang\.org/x/crypto (v\S+)`).FindStringSubmatch(read(t, "../../go.mod"))[1]
	found := false
	for _, c := range bom.Components {
		if strings.Contains(c.Name, "nats") {
			t.Errorf("vmux has %s", c.Name)
		}
		found = found || c.Name == "golang.org/x/crypto" && c.Purl == "pkg:golang/golang.org/x/crypto@"+required
	}
	revision := slices.ContainsFunc(bom.Metadata.Component.Properties, func(p struct{ Name, Value string }) bool {
		return p.Name == "go:vcs.revision" && len(p.Value) == 40
	})
	if bom.Format != "CycloneDX" || bom.Metadata.Component.Name != "vmux" || !found || !revision {
		t.Errorf("%+v", bom)
	}
}

// systemd has nothing to say against the units, and each program comes with the licenses of
// what is in it (Go has two files).
func testUnits(t *testing.T, release string) {
	out := must(t, t.TempDir(), "sh", "-euc", `for deb in "$1"/*.deb; do dpkg-deb -x $deb .; done
for unit in usr/lib/systemd/*/*; do sed -i "s|=/usr/bin/|=$PWD/usr/bin/|" $unit; done
systemd-analyze verify --man=no $PWD/usr/lib/systemd/system/vmux-hub.service
XDG_RUNTIME_DIR=$PWD systemd-analyze --user verify --man=no $PWD/usr/lib/systemd/user/*
grep -c '^==== filippo.io/age\|^==== qr: ' usr/share/doc/vmux-hub/licenses.txt | sed 's/^/of the web app: /'
ls usr/share/man/man*/ | grep -c 'vmux.*gz' | sed 's/^/pages: /'
grep -h '^==== ' usr/share/doc/*/licenses.txt | cut -d ' ' -f 2 | sort | uniq -c`, "sh", release)
	pages := strings.Count(must(t, release, "sh", "-c", "tar -tf vmux_*.tar.gz"), ".gz\n") // none is lost between the packages
	for _, want := range []string{"of the web app: 2\n", fmt.Sprintf("pages: %d\n", pages), " 6 Go", " 1 github.com/nats-io/nats-server/v2", " golang.org/x/crypto", " 1 fyne.io/systray"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}

// Each .rpm has its files with their owners and modes, and its scripts.
func testRPM(t *testing.T, release string) {
	for name, want := range map[string][]string{
		"vmux": {
			"-rwxr-xr-x root root /usr/bin/vmux", "-rw-r--r-- root root /usr/lib/systemd/user/vmux-agent.socket",
			"-rw-r--r-- root root /usr/share/man/man1/vmux-agent.1.gz", "/usr/lib/systemd/user/vmux-phone.service", "-rw-r--r-- root root /usr/share/zsh/site-functions/_vmux",
			"-rw-r--r-- root root /usr/share/fish/vendor_completions.d/vmux.fish", "openssh-clients", "recommends ca-certificates", "postuninstall scriptlet", "build host reproducible",
		},
		"vmux-hub": {
			"-rwxr-xr-x root root /usr/bin/vmux-hub", "-rw-r--r-- root root /usr/lib/systemd/system/vmux-hub.service",
			"-rw-r--r-- root root /usr/lib/sysusers.d/vmux-hub.conf", "/usr/share/man/man8/vmux-hub.8.gz", "config /etc/default/vmux-hub", "/usr/share/licenses/vmux-hub/LICENSE", "shadow-utils", "recommends ca-certificates", "postinstall scriptlet",
		},
		"vmux-tray": {"-rwxr-xr-x root root /usr/bin/vmux-tray", "/usr/share/man/man1/vmux-tray.1.gz", "cn /etc/xdg/autostart/vmux-tray.desktop", "requires vmux"},
	} {
		file := one(t, release, name+"-0*.rpm")
		must(t, "", "rpm", "--checksig", "--nosignature", file)
		out := must(t, "", "rpm", "-q", "--package", "--nosignature", "--queryformat",
			"build host %{BUILDHOST}\n[%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILENAMES}\n][%{FILEFLAGS:fflags} %{FILENAMES}\n][requires %{REQUIRENAME}\n][recommends %{RECOMMENDNAME}\n]", file)
		out += strings.ReplaceAll("\n"+must(t, "", "rpm", "-q", "--package", "--nosignature", "--configfiles", file), "\n/", "\nconfig /")
		out += must(t, "", "rpm", "-q", "--package", "--nosignature", "--scripts", file)
		for _, line := range want {
			if !strings.Contains(out, line) {
				t.Errorf("%s has no %q:\n%s", name, line, out)
			}
		}
	}
}

// The AUR recipe's functions, run on the source and what it makes, lay out the files of the
// Debian packages; the formula has the source's checksum.
func testRecipes(t *testing.T, release string) {
	source := one(t, release, "vmux-*[0-9a-f].tar.gz")
	sum, _, _ := strings.Cut(must(t, "", "sha256sum", source), " ")
	for _, recipe := range []string{"vmux.rb", "PKGBUILD"} {
		if text := read(t, filepath.Join(release, recipe)); !strings.Contains(text, sum) || !strings.Contains(text, url+"/"+filepath.Base(source)) {
			t.Errorf("%s names another source:\n%s", recipe, text)
		}
	}
	dir := t.TempDir()
	must(t, dir, "sh", "-c", `mkdir src && tar -C src -xf "$1" && cd src/vmux-* && tar -xf "$2" --strip-components=1 --wildcards '*/bin' '*/man' '*/completions'`,
		"sh", source, one(t, release, "vmux_*.tar.gz"))
	out := must(t, dir, "bash", "-euc", `srcdir=$PWD/src; . "$1/PKGBUILD"
for p in "${pkgname[@]}"; do
	pkgdir=$PWD/pkg/$p
	(package_$p; for f in "${backup[@]}"; do test -f "$pkgdir/$f"; done)
	dpkg-deb --fsys-tarfile "$1"/${p}_0*.deb | tar -t | sed -n 's/^\.//; s|/usr/share/doc/[^/]*/copyright|/usr/share/licenses/'$p'/LICENSE|; /licenses.txt$/d; /changelog.gz$/d; s|zsh/vendor-completions|zsh/site-functions|; /[^/]$/p' | sort >deb
	(cd "$pkgdir" && find . -type f | sed 's/^\.//' | sort) | diff deb - && echo "$p as in the .deb"
done`, "bash", release)
	if strings.Count(out, "as in the .deb") != 3 {
		t.Error(out)
	}
}
