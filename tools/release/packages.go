package main

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // the formats
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// packaged are the packages, as packaging/NAME.yaml describes them.
var packaged = []string{"vmux", "vmux-hub", "vmux-tray"}

// packages makes the .deb and .rpm packages of a platform.
func (o options) packages(s source, p platform) error {
	if p.os != "linux" {
		return nil
	}
	for _, name := range packaged {
		for _, format := range []string{"deb", "rpm"} {
			if err := o.makePackage(s, p, name, format); err != nil {
				return fmt.Errorf("%s of %s: %w", format, name, err)
			}
		}
	}
	return nil
}

func (o options) makePackage(s source, p platform, name, format string) error {
	config, err := o.describe(s, p.arch, name)
	if err != nil {
		return err
	}
	info, err := config.Get(format)
	if err != nil {
		return err
	}
	for _, c := range info.Contents {
		c.Source = p.find(c.Source)
		info := cmp.Or(c.FileInfo, &files.ContentFileInfo{})
		info.Mode = cmp.Or(info.Mode, 0o644) // not that of the checkout
		c.FileInfo = info
	}
	info.MTime = s.date
	info.RPM.BuildHost = "reproducible"
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	info = nfpm.WithDefaults(info)
	return o.write(packager.ConventionalFileName(info), func(w io.Writer) error { return packager.Package(info, w) })
}

// describe reads the description of a package.
func (o options) describe(s source, arch, name string) (nfpm.Config, error) {
	values := map[string]string{"VERSION": s.version, "ARCH": arch, "MAINTAINER": o.maintainer, "HOMEPAGE": o.url}
	return nfpm.ParseFileWithEnvMapping(filepath.Join("packaging", name+".yaml"), func(name string) string { return values[name] })
}
