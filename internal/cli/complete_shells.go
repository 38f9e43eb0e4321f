package cli

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// What bash inserts of several names is as much as they begin with, and cobra's script quotes
// a single name alone (spf13/cobra pull request 2334): a label broke the line, and a name that
// another device chose was a command in it. A list, of type ?, is shown and not inserted.
const (
	quotesOne = "if (( ${#COMPREPLY[@]} == 1 )); then\n            COMPREPLY[0]=$(printf \"%q\" \"${COMPREPLY[0]}\")\n        fi\n"
	quotesAll = "if (( ${#COMPREPLY[@]} > 0 && COMP_TYPE != 63 )); then\n            IFS=$'\\n' read -ra COMPREPLY -d '' < <(printf \"%q\\n\" \"${COMPREPLY[@]}\")\n        fi\n"
)

// For fish the script has the words before the cursor evaluated again, without the quotes that
// they were typed in (spf13/cobra pull request 2095): a name that another device chose was a
// command at the next tab.
const (
	evaluatesWords = "    set -l requestComp \"VMUX_ACTIVE_HELP=0 $args[1] __complete $args[2..-1] $lastArg\"\n"
	escapesWords   = "    set -l words (string escape -- $args[2..-1])\n" +
		"    set -l requestComp \"VMUX_ACTIVE_HELP=0 $args[1] __complete $words $lastArg\"\n"
)

// BashCompletion writes what bash completes of root's commands.
func BashCompletion(w io.Writer, root *cobra.Command, descriptions bool) error {
	var script bytes.Buffer
	if err := root.GenBashCompletionV2(&script, descriptions); err != nil {
		return err
	}
	return mended(w, script.String(), quotesOne, quotesAll)
}

// FishCompletion writes what fish completes of root's commands.
func FishCompletion(w io.Writer, root *cobra.Command, descriptions bool) error {
	var script bytes.Buffer
	if err := root.GenFishCompletion(&script, descriptions); err != nil {
		return err
	}
	return mended(w, script.String(), evaluatesWords, escapesWords)
}

func mended(w io.Writer, script, wrong, right string) error {
	before, after, found := strings.Cut(script, wrong)
	if !found {
		return errors.New("cobra quotes names in another way")
	}
	_, err := io.WriteString(w, before+right+after)
	return err
}

// completesBy has `vmux completion SHELL` print what is written.
func completesBy(a *app, cmd *cobra.Command, write func(w io.Writer, root *cobra.Command, descriptions bool) error) {
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		without, err := cmd.Flags().GetBool("no-descriptions")
		if err != nil {
			return err
		}
		var script strings.Builder
		if err := write(&script, cmd.Root(), !without); err != nil {
			return err
		}
		return a.Text(script.String())
	}
}
