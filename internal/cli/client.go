package cli

import (
	"strings"
	"time"

	"vmux/internal/control"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// client returns a client of the agent that runs under this VMUX_HOME.
func client() *control.Client {
	home, err := state.Find()
	if err != nil {
		return control.NewClient("", err)
	}
	return control.NewClient(home.ControlSocket())
}

// identityLines are the identities as people compare them with ssh-keygen -l.
func identityLines(identities []control.Identity) string {
	var b strings.Builder
	for _, i := range identities {
		b.WriteString(wire.Show(i.Comment) + " " + i.Fingerprint + "\n")
	}
	return b.String()
}

func localTime(t time.Time) string { return t.Local().Format(control.TimeLayout) }
