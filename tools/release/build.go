package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// platform is what was built for one.
type platform struct {
	os, arch string
	programs []string
	stage    string // folder with bin/ and licenses/; man/, completions/ and changelogs/ are in all beside it
}

// manuals writes the manual pages, compressed as packages have them, and the completions.
func manuals(s source, to string) error {
	pages := filepath.Join(to, "man")
	if err := run(s.environment(), "go", "-C", "tools", "run", "./man", pages, filepath.Join(to, "completions")); err != nil {
		return fmt.Errorf("the manual pages: %w", err)
	}
	return filepath.WalkDir(pages, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var packed bytes.Buffer
		if err := compress(&packed, b); err != nil {
			return err
		}
		if err := os.WriteFile(path+".gz", packed.Bytes(), 0o644); err != nil {
			return err
		}
		return os.Remove(path)
	})
}

// build compiles the programs as `make build` does. The menu bar of macOS needs macOS, and
// is in the Homebrew formula.
func (s source) build(name, stage string) (platform, error) {
	goos, goarch, ok := strings.Cut(name, "/")
	p := platform{os: goos, arch: goarch, stage: filepath.Join(stage, goos+"-"+goarch), programs: []string{"vmux", "vmux-hub"}}
	if !ok {
		return p, fmt.Errorf("want OS/ARCH")
	}
	if goos == "linux" {
		p.programs = append(p.programs, "vmux-tray")
	}
	bin := filepath.Join(p.stage, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return p, err
	}
	// The revision is noted in the programs, whatever GOFLAGS says.
	args := []string{"build", "-trimpath", "-buildvcs=true", "-ldflags=-s -w", "-o", bin + "/"}
	for _, program := range p.programs {
		args = append(args, "./cmd/"+program)
	}
	return p, run(s.environment("GOOS="+goos, "GOARCH="+goarch), "go", args...)
}

// find is where a file of packaging/*.yaml is: below the stage what is built, else in the
// repository.
func (p platform) find(name string) string {
	switch first, _, _ := strings.Cut(name, "/"); first {
	case "bin", "licenses":
		return filepath.Join(p.stage, name)
	case "man", "completions", "changelogs":
		return filepath.Join(filepath.Dir(p.stage), "all", name)
	}
	return name
}
