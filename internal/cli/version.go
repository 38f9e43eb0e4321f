package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
)

func newVersionCommand(a *app) *cobra.Command {
	return a.WithJSON(&cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: "  vmux version --json",
		RunE: func(*cobra.Command, []string) error {
			v := thisVersion()
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v.Revision = s.Value
					}
				}
			}
			return a.Answer(v, func() error { return a.Line("%s", v.line()) })
		},
	})
}

type versionAnswer struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source, if it was built from a checkout
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisVersion() versionAnswer {
	return versionAnswer{Version: command.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
}

func (v versionAnswer) line() string {
	return "vmux " + v.Version + " (" + v.Platform + ", " + v.Go + ")"
}
