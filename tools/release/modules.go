package main

import (
	"debug/buildinfo"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// modulesOf returns what a program tells of itself, as `go version -m` reads it, with all
// modules in it. The hub has a second program inside, the web app's, of which it tells nothing.
func (s source) modulesOf(p platform, program string) (*debug.BuildInfo, error) {
	info, err := buildinfo.ReadFile(filepath.Join(p.stage, "bin", program))
	if err != nil {
		return nil, err
	}
	for i, m := range info.Deps {
		if m.Replace != nil {
			info.Deps[i] = m.Replace
		}
	}
	if program != "vmux-hub" {
		return info, nil
	}
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Sum}}{{end}}{{end}}", "./cmd/vmux-phone-wasm")
	cmd.Env = s.environment("GOOS=js", "GOARCH=wasm")
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 3 && !slices.ContainsFunc(info.Deps, func(m *debug.Module) bool { return m.Path == f[0] }) {
			info.Deps = append(info.Deps, &debug.Module{Path: f[0], Version: f[1], Sum: f[2]})
		}
	}
	slices.SortFunc(info.Deps, func(a, b *debug.Module) int { return strings.Compare(a.Path, b.Path) })
	return info, nil
}

// fromNPM is the library of the web app that is not of Go; DEPENDENCIES.md tells of it.
const (
	fromNPM       = "qr"
	fromNPMFolder = "web/phone/static/qr"
)
