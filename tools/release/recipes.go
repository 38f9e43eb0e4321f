package main

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/template"

	"vmux/internal/cli/command"
)

// recipe is what the templates in packaging/ are given.
type recipe struct {
	Version     string // as the recipe's own system has it
	Program     string // as `vmux version` has it
	Before      bool   // it is a version before that one
	URL, SHA256 string // of the source archive
	Folder      string // which the archive makes
	Homepage    string
	Packages    []built
}

// built is a package of which the recipe installs the files.
type built struct {
	Name, Description string
	Depends           []string
	Configs           []string // files that an administrator changes
	Install           []string // commands
}

// recipes fills in the Homebrew formula and the AUR recipe, which both build from the
// source archive.
func (o options) recipes(s source) error {
	if o.url == "" {
		fmt.Fprintln(os.Stderr, "release: no formula and no AUR recipe: no URL was named")
		return nil
	}
	name := sourceName(s) + ".tar.gz"
	sum, err := sumOf(o.path(name))
	if err != nil {
		return err
	}
	r := recipe{
		// pacman allows no hyphen, and takes 1.0.dev for a version before 1.0.
		Version: strings.ReplaceAll(s.version, "-", "."), Program: command.Version, Before: s.version != command.Version, URL: strings.TrimSuffix(o.url, "/") + "/" + name, SHA256: sum,
		Folder: sourceName(s), Homepage: o.url,
	}
	for _, name := range packaged {
		b, err := o.installed(s, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.Packages = append(r.Packages, b)
	}
	for from, to := range map[string]string{"vmux.rb.tmpl": "vmux.rb", "PKGBUILD.tmpl": "PKGBUILD"} {
		t, err := template.ParseFiles(filepath.Join("packaging", from))
		if err != nil {
			return err
		}
		if err := o.write(to, func(w io.Writer) error { return t.Execute(w, r) }); err != nil {
			return err
		}
	}
	return nil
}

// installed turns a package's list of files into commands. Arch has its zsh completions
// where Fedora has them.
func (o options) installed(s source, name string) (built, error) {
	config, err := o.describe(s, "amd64", name)
	if err != nil {
		return built{}, err
	}
	description, _, _ := strings.Cut(config.Description, "\n")
	b := built{Name: name, Description: description}
	for _, d := range config.Depends {
		if d != "passwd" { // systemd-sysusers makes the account
			b.Depends = append(b.Depends, d)
		}
	}
	for _, c := range config.Contents {
		if c.Packager == "deb" || path.Dir(c.Source) == "licenses" { // those are of what is built here
			continue
		}
		to := c.Destination
		if strings.HasPrefix(c.Type, "config") {
			b.Configs = append(b.Configs, strings.TrimPrefix(to, "/"))
		}
		if strings.HasSuffix(to, "/") {
			b.Install = append(b.Install, fmt.Sprintf(`install -Dm644 -t "$pkgdir%s" %s`, to, c.Source))
		} else {
			b.Install = append(b.Install, fmt.Sprintf(`install -Dm%o %s "$pkgdir%s"`, mode(c.Source), c.Source, to))
		}
	}
	return b, nil
}
