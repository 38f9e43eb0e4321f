package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/debug"

	"github.com/CycloneDX/cyclonedx-go"
)

// sbom lists what each program of a platform is made of, as `go version -m` reads it out of
// the program itself, in CycloneDX's JSON.
func (o options) sbom(s source, p platform) error {
	page, err := os.ReadFile("DEPENDENCIES.md")
	if err != nil {
		return err
	}
	found := regexp.MustCompile("\\[`" + fromNPM + "`\\]\\(\\S+\\) (\\d[\\d.]*)").FindSubmatch(page)
	if found == nil {
		return fmt.Errorf("DEPENDENCIES.md has no version of %s", fromNPM)
	}
	version := string(found[1])
	for _, program := range p.programs {
		info, err := s.modulesOf(p, program)
		if err != nil {
			return err
		}
		err = o.write(fmt.Sprintf("%s_%s_%s_%s.cdx.json", program, s.version, p.os, p.arch), func(w io.Writer) error {
			return cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bill(s, program, version, info))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func bill(s source, program, version string, info *debug.BuildInfo) *cyclonedx.BOM {
	bom := cyclonedx.NewBOM()
	settings := []cyclonedx.Property{{Name: "go:version", Value: info.GoVersion}}
	for _, setting := range info.Settings {
		settings = append(settings, cyclonedx.Property{Name: "go:" + setting.Key, Value: setting.Value})
	}
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: s.date.Format("2006-01-02T15:04:05Z"),
		Component: &cyclonedx.Component{
			BOMRef: program, Type: cyclonedx.ComponentTypeApplication, Name: program, Version: s.version, Properties: &settings,
		},
	}
	components := []cyclonedx.Component{{
		BOMRef: "std", Type: cyclonedx.ComponentTypeLibrary, Name: "std", Version: info.GoVersion,
		PackageURL: "pkg:golang/std@" + info.GoVersion[len("go"):],
	}}
	for _, m := range info.Deps {
		url := "pkg:golang/" + m.Path + "@" + m.Version
		components = append(components, cyclonedx.Component{
			BOMRef: url, Type: cyclonedx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: url,
			Properties: &[]cyclonedx.Property{{Name: "go:sum", Value: m.Sum}},
		})
	}
	if program == "vmux-hub" {
		url := "pkg:npm/" + fromNPM + "@" + version
		components = append(components, cyclonedx.Component{
			BOMRef: url, Type: cyclonedx.ComponentTypeLibrary, Name: fromNPM, Version: version, PackageURL: url,
		})
	}
	bom.Components = &components
	return bom
}
