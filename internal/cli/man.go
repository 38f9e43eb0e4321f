package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newManCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "man FOLDER",
		Short:   "Write the manual pages into a folder",
		Example: "  vmux man ~/.local/share/man/man1 && man vmux-agent",
		Args:    args("FOLDER"),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := os.MkdirAll(names[0], 0o755); err != nil {
				return wrongFile(fmt.Errorf("make the folder: %w", err), "vmux man FOLDER, one that is there or can be made")
			}
			if err := writeManPages(cmd.Root(), names[0]); err != nil {
				return fmt.Errorf("write manual pages to %s: %w", filepath.Clean(names[0]), err)
			}
			a.say("manual pages are in %s", filepath.Clean(names[0]))
			return nil
		},
	}
}

// writeManPages writes a page for a command and for each below it. Cobra's own
// generator would bring a Markdown and a YAML parser into the program, whose
// tables would be made anew at each start of the agent.
func writeManPages(cmd *cobra.Command, folder string) error {
	for _, sub := range pagesBelow(cmd) {
		if err := writeManPages(sub, folder); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(folder, manName(cmd)+".1"), []byte(manPage(cmd)), 0o644)
}

// pagesBelow are the commands below one that have pages of their own.
func pagesBelow(cmd *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(cmd.Commands()), func(sub *cobra.Command) bool {
		return !sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand()
	})
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage is a command's page in the man macros, man(7).
func manPage(cmd *cobra.Command) string {
	cmd.InitDefaultHelpFlag()
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %q 1 \"\" \"vmux %s\" vmux\n.nh\n.ad l\n", strings.ToUpper(manName(cmd)), Version)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(manName(cmd)), roff(cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(cmd.UseLine()))
	description := cmd.Long
	if description == "" {
		description = cmd.Short
	}
	b.WriteString(".SH DESCRIPTION\n" + roffText(description))
	b.WriteString(".SH OPTIONS\n" + roffLiteral(cmd.NonInheritedFlags().FlagUsagesWrapped(72)))
	if cmd.HasAvailableInheritedFlags() {
		b.WriteString(".SH OPTIONS OF ALL COMMANDS\n" + roffLiteral(cmd.InheritedFlags().FlagUsagesWrapped(72)))
	}
	if cmd.Example != "" {
		b.WriteString(".SH EXAMPLES\n" + roffLiteral(cmd.Example))
	}
	if also := seeAlso(cmd); len(also) > 0 {
		fmt.Fprintf(&b, ".SH SEE ALSO\n%s\n", strings.Join(also, ", "))
	}
	return b.String()
}

func seeAlso(cmd *cobra.Command) []string {
	var also []string
	reference := func(c *cobra.Command) { also = append(also, `\fB`+roff(manName(c))+`\fP(1)`) }
	if cmd.HasParent() {
		reference(cmd.Parent())
	}
	for _, sub := range pagesBelow(cmd) {
		reference(sub)
	}
	return also
}

// roffText sets paragraphs; lines that are indented stay as they are.
func roffText(text string) string {
	var b strings.Builder
	for block := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		if strings.HasPrefix(block, " ") {
			b.WriteString(roffLiteral(block))
			continue
		}
		b.WriteString(".PP\n")
		for line := range strings.SplitSeq(block, "\n") {
			b.WriteString(roff(line) + "\n")
		}
	}
	return b.String()
}

// roffLiteral sets lines as they are.
func roffLiteral(text string) string {
	var b strings.Builder
	b.WriteString(".PP\n.nf\n")
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		b.WriteString(roff(line) + "\n")
	}
	return b.String() + ".fi\n"
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`)

// roff escapes one line: backslashes, hyphens, which else may be set as dashes,
// and a control character at the front.
func roff(line string) string {
	line = roffEscapes.Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}
