package agent

import (
	"context"
	"fmt"
	"time"

	"vmux/internal/control"
	"vmux/internal/hubpage"
	"vmux/internal/wire"
)

const (
	// pageEvery is how often the hub's page is compared with the build's, by the
	// wall clock: timers stand still while a laptop sleeps.
	pageEvery = 24 * time.Hour
	// pageAgain is how long one that could not be compared is left alone, and how
	// often it is looked whether it is time.
	pageAgain = time.Hour
)

// VerifyHub implements control.Service. What it finds stays in the status until
// the next time.
func (a *Agent) VerifyHub(ctx context.Context) (hubpage.Report, error) {
	if a.hub == nil {
		return hubpage.Report{}, control.Errorf(control.CodeInvalid, "vmux hub verify URL", "The agent uses no hub.")
	}
	list := a.cfg.Page
	if list == nil {
		return hubpage.Report{}, control.Errorf(control.CodeInvalid, hubpage.HowToBuild, "This build of vmux has no list of the page's files.")
	}
	way, err := a.cfg.Hub.way()
	if err != nil {
		return hubpage.Report{}, err
	}
	client := way.Client()
	defer client.CloseIdleConnections()
	report, err := hubpage.Verify(ctx, client, a.cfg.Hub.URL, list)
	if err != nil {
		return report, control.Errorf(control.CodeNoPage, "vmux status", "The hub's page cannot be compared: %s.", wire.Show(err.Error()))
	}
	warning := ""
	if n := len(report.Differences); n > 0 {
		warning = fmt.Sprintf("The page that the hub %s serves is not the one that this vmux was built with (differences: %d): `vmux hub verify` names them.", report.URL, n)
	}
	a.journal.Warn(warningPage, warning)
	return report, nil
}

// watchPage compares the hub's page when the hub is first there, and once a day.
func (a *Agent) watchPage(ctx context.Context, compare func(context.Context) (hubpage.Report, error)) {
	if a.cfg.Page == nil {
		return
	}
	var next time.Time
	timer := time.NewTicker(pageAgain)
	defer timer.Stop()
	for {
		changed := a.Changed() // before the look, so that no change is missed
		if now := time.Now().Round(0); a.hub.Status().Connected && !now.Before(next) {
			next = now.Add(pageEvery)
			if _, err := compare(ctx); err != nil {
				next = now.Add(pageAgain)
				a.log.Info("the hub's page was not compared", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-timer.C:
		}
	}
}
