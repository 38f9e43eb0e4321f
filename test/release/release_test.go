//go:build linux

// Package release tests what `make release` makes, as whoever installs it meets it.
package release

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
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

// checkout is a commit of the tree as it is now, with the web app compressed quickly: at
// full strength that takes most of a minute.
func checkout(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "vmux")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, "../..", "sh", "-c", `git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh | tar --null -T - -c | tar -C "$1" -x`, "sh", dir)
	must(t, dir, "git", "init", "-q")
	must(t, dir, "git", "add", "--all")
	must(t, dir, "git", "-c", "user.name=releaser", "-c", "user.email=releaser@example.org", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "all of it")
	return dir
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
	args := append([]string{"-c", "umask " + umask + `; exec go -C tools run ./release "$@"`, "sh", "-platforms", platform, "-url", url}, flags...)
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
	dir := checkout(t)
	clone := filepath.Join(t.TempDir(), "elsewhere", "deeper")
	must(t, dir, "git", "clone", "-q", ".", clone)
	seed(t, dir, clone)
	key := filepath.Join(t.TempDir(), "key")
	must(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	release := makeRelease(t, dir, "022", "-key", key)
	t.Setenv("GOFLAGS", "-buildvcs=false -ldflags=-X=main.x=y")
	t.Setenv("GOAMD64", "v2")
	again := makeRelease(t, clone, "077")
	t.Run("reproducible", func(t *testing.T) {
		if a, b := read(t, filepath.Join(release, "SHA256SUMS")), read(t, filepath.Join(again, "SHA256SUMS")); a != b || strings.Count(a, "\n") < 11 {
			t.Errorf("the first time\n%sand the second\n%s", a, b)
		}
	})
	t.Run("signed", func(t *testing.T) { testSignature(t, release, key) })
	t.Run("bill of materials", func(t *testing.T) { testSBOM(t, release) })
	t.Run("units", func(t *testing.T) { testUnits(t, release) })
	t.Run("rpm", func(t *testing.T) { testRPM(t, release) })
	t.Run("recipes", func(t *testing.T) { testRecipes(t, release) })
	t.Run("deb", func(t *testing.T) { testDebian(t, release) })
}

func testSignature(t *testing.T, release, key string) {
	signers := filepath.Join(t.TempDir(), "allowed_signers")
	if err := os.WriteFile(signers, []byte(`releaser@example.org namespaces="file" `+read(t, key+".pub")), 0o600); err != nil {
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
grep -h '^==== ' usr/share/doc/*/licenses.txt | cut -d ' ' -f 2 | sort | uniq -c`, "sh", release)
	for _, want := range []string{" 6 Go", " 1 github.com/nats-io/nats-server/v2", " golang.org/x/crypto", " 1 fyne.io/systray"} {
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
			"-rw-r--r-- root root /usr/share/man/man1/vmux-agent.1.gz", "-rw-r--r-- root root /usr/share/zsh/site-functions/_vmux",
			"-rw-r--r-- root root /usr/share/fish/vendor_completions.d/vmux.fish", "openssh-clients", "postuninstall scriptlet", "build host reproducible",
		},
		"vmux-hub": {
			"-rwxr-xr-x root root /usr/bin/vmux-hub", "-rw-r--r-- root root /usr/lib/systemd/system/vmux-hub.service",
			"-rw-r--r-- root root /usr/lib/sysusers.d/vmux-hub.conf", "config /etc/default/vmux-hub", "/usr/share/licenses/vmux-hub/LICENSE", "shadow-utils", "postinstall scriptlet",
		},
		"vmux-tray": {"-rwxr-xr-x root root /usr/bin/vmux-tray", "/etc/xdg/autostart/vmux-tray.desktop", "requires vmux"},
	} {
		file := one(t, release, name+"-0*.rpm")
		must(t, "", "rpm", "--checksig", "--nosignature", file)
		out := must(t, "", "rpm", "-q", "--package", "--nosignature", "--queryformat",
			"build host %{BUILDHOST}\n[%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILENAMES}\n][requires %{REQUIRENAME}\n][recommends %{RECOMMENDNAME}\n]", file)
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
	dpkg-deb --fsys-tarfile "$1"/${p}_0*.deb | tar -t | sed -n 's/^\.//; s|/usr/share/doc/[^/]*/copyright|/usr/share/licenses/'$p'/LICENSE|; /licenses.txt$/d; s|zsh/vendor-completions|zsh/site-functions|; /[^/]$/p' | sort >deb
	(cd "$pkgdir" && find . -type f | sed 's/^\.//' | sort) | diff deb - && echo "$p as in the .deb"
done`, "bash", release)
	if strings.Count(out, "as in the .deb") != 3 {
		t.Error(out)
	}
}
