package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// archived is what an archive holds, as patterns. Units are for Linux alone.
var (
	archived  = []string{"bin/*", "licenses/*", "man/man1/*", "man/man8/*", "completions/*", "LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "docs/*.md"}
	ofSystemd = []string{"internal/setup/vmux-*.s*", "packaging/vmux-hub.service", "packaging/vmux-hub.default", "packaging/vmux-hub.sysusers"}
)

// archive packs what runs without being installed by a package manager.
func (o options) archive(s source, p platform) error {
	name := fmt.Sprintf("vmux_%s_%s_%s", s.version, p.os, p.arch)
	return o.write(name+".tar.gz", func(w io.Writer) error { return pack(w, name, s, p) })
}

// pack writes an archive whose folder has that name.
func pack(w io.Writer, name string, s source, p platform) error {
	z := gzip.NewWriter(w) // without a name and a time
	t := tar.NewWriter(z)
	add := func(patterns []string, place func(string) string) error {
		for _, pattern := range patterns {
			found, err := filepath.Glob(p.find(pattern)) // sorted
			if err != nil || len(found) == 0 {
				return fmt.Errorf("%s: nothing is there (%v)", pattern, err)
			}
			for _, file := range found {
				b, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				header := &tar.Header{
					Name: path.Join(name, place(path.Join(path.Dir(pattern), filepath.Base(file)))), Size: int64(len(b)),
					Mode: int64(mode(pattern)), ModTime: s.date, Format: tar.FormatUSTAR,
				}
				if err := t.WriteHeader(header); err != nil {
					return err
				}
				if _, err := t.Write(b); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := add(archived, func(name string) string { return name }); err != nil {
		return err
	}
	if p.os == "linux" {
		if err := add(ofSystemd, func(name string) string { return path.Join("systemd", path.Base(name)) }); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

// mode is that of a file by what it is, not by the umask of who has checked it out.
func mode(name string) os.FileMode {
	if strings.HasPrefix(name, "bin/") {
		return 0o755
	}
	return 0o644
}

// sourceArchive packs the commit, for the recipes that build from source. A hosting site's
// own archive of a tag may change its bytes.
func (o options) sourceArchive(s source) error {
	cmd := exec.Command("git", "archive", "--format=tar", "--prefix="+sourceName(s)+"/", "HEAD")
	cmd.Env = append(os.Environ(), "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=tar.umask", "GIT_CONFIG_VALUE_0=0022")
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("git archive: %w", err)
	}
	return o.write(sourceName(s)+".tar.gz", func(w io.Writer) error { return compress(w, b) })
}

// write makes a file of the release.
func (o options) write(name string, fill func(io.Writer) error) error {
	f, err := os.Create(o.path(name))
	if err != nil {
		return err
	}
	return errors.Join(fill(f), f.Close())
}

func sourceName(s source) string { return "vmux-" + s.version }

func compress(w io.Writer, b []byte) error {
	z, _ := gzip.NewWriterLevel(w, gzip.BestCompression) // the level is a valid one
	if _, err := io.Copy(z, bytes.NewReader(b)); err != nil {
		return err
	}
	return z.Close()
}
