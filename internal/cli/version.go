package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version is this program's version, as CHANGELOG.md names it.
const Version = "0.1.0"

func newVersionCommand(a *app) *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: "  vmux version --json",
		Args:    args(),
		RunE: func(*cobra.Command, []string) error {
			v := versionAnswer{Version: Version, Revision: revision(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			return a.answer(v, func() error {
				return a.line("vmux %s (%s, %s)", v.Version, v.Platform, v.Go)
			})
		},
	})
}

type versionAnswer struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source, if it was built from a checkout
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
