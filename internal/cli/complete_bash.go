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

// BashCompletion writes what bash completes of root's commands.
func BashCompletion(w io.Writer, root *cobra.Command, descriptions bool) error {
	var script bytes.Buffer
	if err := root.GenBashCompletionV2(&script, descriptions); err != nil {
		return err
	}
	before, after, found := strings.Cut(script.String(), quotesOne)
	if !found {
		return errors.New("cobra quotes names in another way")
	}
	_, err := io.WriteString(w, before+quotesAll+after)
	return err
}

// completesBash has `vmux completion bash` print it.
func completesBash(a *app, cmd *cobra.Command) {
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		without, err := cmd.Flags().GetBool("no-descriptions")
		if err != nil {
			return err
		}
		var script strings.Builder
		if err := BashCompletion(&script, cmd.Root(), !without); err != nil {
			return err
		}
		return a.Text(script.String())
	}
}
