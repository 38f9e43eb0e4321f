// Command release makes what a release of vmux consists of; `make release` runs it, and
// docs/releasing.md tells the whole procedure. Two runs of one commit, with one version of
// Go, make the same bytes, in whatever folder and at whatever time.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// platforms are those of the archives; packages are made for those of Linux.
const platforms = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64"

// options are the flags.
type options struct {
	to         string
	platforms  string
	url        string
	maintainer string
	key        string
}

func main() {
	var o options
	flag.StringVar(&o.to, "to", "release", "write to this `folder`; a release that is there is removed")
	flag.StringVar(&o.platforms, "platforms", platforms, "`OS/ARCH`, separated by commas")
	flag.StringVar(&o.url, "url", "", "where the files will be, as a `URL`: names them in the Homebrew formula and the AUR recipe, which are left out without it")
	flag.StringVar(&o.maintainer, "maintainer", "", "`NAME <ADDRESS>` of who answers for the packages (default: who made the commit)")
	flag.StringVar(&o.key, "key", "", "sign SHA256SUMS by ssh-keygen -Y sign with this `file`: a private key, or the public key of one that the SSH agent has")
	flag.Parse()
	if err := o.release(); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func (o options) release() error {
	if err := os.Chdir(filepath.Clean(root())); err != nil {
		return err
	}
	if err := keepFetching(); err != nil {
		return err
	}
	s, err := lookAtSource()
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "release: version", s.version)
	o.maintainer = cmp.Or(o.maintainer, s.committer)
	if _, err := mail.ParseAddress(o.maintainer); err != nil {
		return fmt.Errorf("-maintainer: want NAME <ADDRESS>, not %q", o.maintainer)
	}
	if err := o.makeFolder(); err != nil {
		return err
	}
	stage, err := os.MkdirTemp("", "vmux-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)

	if err := run(s.environment(), "go", "run", "./web/phone/build"); err != nil {
		return fmt.Errorf("the web app: %w", err)
	}
	if err := manuals(s, filepath.Join(stage, "all")); err != nil {
		return err
	}
	if err := o.changelogs(s, filepath.Join(stage, "all", "changelogs")); err != nil {
		return fmt.Errorf("the changelogs: %w", err)
	}
	if err := o.sourceArchive(s); err != nil {
		return fmt.Errorf("the source: %w", err)
	}
	for platform := range strings.SplitSeq(o.platforms, ",") {
		p, err := s.build(platform, stage)
		if err == nil {
			err = s.licenses(p)
		}
		if err == nil {
			err = errors.Join(o.archive(s, p), o.packages(s, p), o.sbom(s, p))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", platform, err)
		}
	}
	if err := o.recipes(s); err != nil {
		return err
	}
	return o.sums()
}

// ofRelease are the names of files that a release may have.
var ofRelease = regexp.MustCompile(`^(vmux[-_.].*|PKGBUILD|SHA256SUMS(\.sig)?)$`)

// makeFolder makes the folder anew, unless it is one that something else is in, as
// `-to ~` would name it.
func (o options) makeFolder() error {
	there, err := os.ReadDir(o.to)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range there {
		if e.IsDir() || !ofRelease.MatchString(e.Name()) {
			return fmt.Errorf("%s has %s, which is of no release: name another folder", o.to, e.Name())
		}
	}
	return errors.Join(os.RemoveAll(o.to), os.MkdirAll(o.to, 0o755))
}

// root is the repository's folder: `go -C tools run ./release` runs in tools.
func root() string {
	if _, err := os.Stat("Makefile"); err == nil {
		return "."
	}
	return ".."
}

// run runs a program with its words on stderr.
func run(environment []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = environment, os.Stderr, os.Stderr
	return cmd.Run()
}

// path is a file of the release.
func (o options) path(name string) string { return filepath.Join(o.to, name) }
