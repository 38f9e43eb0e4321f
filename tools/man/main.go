// Command man writes the manual pages of vmux into a folder, one for each command;
// `make man` runs it. It is not part of vmux, which would otherwise carry a Markdown
// and a YAML parser. SOURCE_DATE_EPOCH in the environment is the pages' date.
package main

import (
	"fmt"
	"os"

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
	if len(args) != 1 {
		return fmt.Errorf("want the folder to write to")
	}
	if err := os.MkdirAll(args[0], 0o755); err != nil {
		return err
	}
	root := cli.Commands()
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Section: "1", Source: "vmux " + command.Version, Manual: "vmux"}
	return doc.GenManTree(root, header, args[0])
}
