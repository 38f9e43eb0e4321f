// Command man writes manual pages below a folder, one for each command of vmux and one for
// each program beside it, and what bash, zsh and fish complete at Tab into a second folder;
// `make man` runs it. It is not part of vmux, which would otherwise carry a Markdown and a
// YAML parser. SOURCE_DATE_EPOCH in the environment is the pages' date.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra/doc"

	"vmux/internal/cli"
	"vmux/internal/cli/command"
)

func main() {
	if err := write(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

func write(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want a folder for the manual pages and one for the completions")
	}
	pages, completions := filepath.Join(args[0], "man1"), args[1]
	if err := errors.Join(os.MkdirAll(pages, 0o755), os.MkdirAll(completions, 0o755)); err != nil {
		return err
	}
	for _, p := range programs {
		if err := p.write(args[0]); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	root := cli.Commands()
	var bash, fish bytes.Buffer
	if err := errors.Join(cli.BashCompletion(&bash, root, true), cli.FishCompletion(&fish, root, true)); err != nil {
		return err
	}
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Section: "1", Source: "vmux " + command.Version, Manual: "vmux"}
	return errors.Join(
		doc.GenManTree(root, header, pages),
		os.WriteFile(filepath.Join(completions, "vmux.bash"), bash.Bytes(), 0o644),
		root.GenZshCompletionFile(filepath.Join(completions, "_vmux")),
		os.WriteFile(filepath.Join(completions, "vmux.fish"), fish.Bytes(), 0o644),
	)
}
