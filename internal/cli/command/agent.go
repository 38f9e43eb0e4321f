package command

import (
	"time"

	"vmux/internal/control"
	"vmux/internal/state"
)

// Client returns a client of the agent that runs under this VMUX_HOME.
func Client() *control.Client {
	home, err := state.Find()
	if err != nil {
		return control.NewClient("", err)
	}
	return control.NewClient(home.ControlSocket())
}

// LocalTime is a time by the clock of this machine.
func LocalTime(t time.Time) string { return t.Local().Format(control.TimeLayout) }
