package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// licenses writes what the libraries in each program ask to be passed on with them: every
// license and notice, of Go's own library as well.
func (s source) licenses(p platform) error {
	to := filepath.Join(p.stage, "licenses")
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, program := range p.programs {
		info, err := s.modulesOf(p, program)
		if err != nil {
			return err
		}
		root, err := s.goSays("env", "GOROOT")
		if err != nil {
			return err
		}
		ask := []string{"list", "-m", "-f", "{{.Dir}}"}
		for _, m := range info.Deps {
			ask = append(ask, m.Path)
		}
		folders, err := s.goSays(ask...)
		if err != nil {
			return err
		}
		var text strings.Builder
		err = noticesOf(&text, "Go "+info.GoVersion, root)
		for i, folder := range strings.Split(folders, "\n") { // one for each that was asked for
			err = errors.Join(err, noticesOf(&text, info.Deps[i].Path+" "+info.Deps[i].Version, folder))
		}
		if program == "vmux-hub" {
			err = errors.Join(err, noticesOf(&text, fromNPM, fromNPMFolder))
		}
		if err := errors.Join(err, os.WriteFile(filepath.Join(to, program+".txt"), []byte(text.String()), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// noticesOf adds the licenses and notices of a module that is in a folder.
func noticesOf(to *strings.Builder, module, dir string) error {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return err
	}
	found := false
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") && !strings.HasPrefix(name, "NOTICE") && !strings.HasPrefix(name, "PATENTS") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		found = true
		fmt.Fprintf(to, "==== %s: %s\n\n%s\n", module, e.Name(), b)
	}
	if !found {
		return fmt.Errorf("%s has no license in %s", module, dir)
	}
	return nil
}

func (s source) goSays(args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Env = s.environment()
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}
