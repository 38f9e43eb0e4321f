package setupcmd

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"vmux/internal/cli/command"
	"vmux/internal/config"
	"vmux/internal/localhub"
	"vmux/internal/wire"
)

// The places where a phone can be. Which hub the agent has follows from them
// (docs/running-a-hub.md).
const (
	placeHome      = "home"
	placeTailscale = "tailscale"
	placeServer    = "server"
	placeMachine   = "machine"
)

var places = []struct{ name, says string }{
	{placeHome, "a phone in this network"},
	{placeTailscale, "a phone anywhere, by tailscale"},
	{placeServer, "a phone anywhere, by your hub"},
	{placeMachine, "another machine, by vmux phone"},
}

func placeNames() (names []string) {
	for _, p := range places {
		names = append(names, p.name)
	}
	return names
}

// place adds to the settings that are wanted what follows from where the phone is. A
// person is asked who has said nothing of it so far.
func (a *app) place(ctx context.Context, f *setupFlags, there []config.Setting, asks bool, wanted map[string]any) error {
	if f.phone == "" && f.hub == "" && asks && settingOf(there, "hub").Source != config.InFile && !hasPhone(ctx) {
		if err := a.askPlace(ctx, f); err != nil {
			return err
		}
	}
	if f.hubURL != "" && f.phone != placeTailscale {
		return command.Usagef("--hub-url is for --phone tailscale")
	}
	if f.hub != "" {
		wanted["hub"] = f.hub
	}
	switch f.phone {
	case "":
		return nil
	case placeServer:
		if f.hub == "" || f.hub == "none" || f.hub == "local" {
			return command.Usagef("--phone server needs --hub: the URL of the hub that runs there")
		}
		return nil
	case placeHome, placeTailscale, placeMachine:
		if f.hub != "" {
			return command.Usagef("--hub is for --phone server, or without --phone")
		}
	default:
		return command.Usagef("--phone accepts %s, not %s", strings.Join(placeNames(), ", "), wire.Show(f.phone))
	}
	if f.phone == placeMachine {
		a.Say("on that machine, vmux setup --parts phone starts vmux phone at login")
		return nil // on the local network it is found without a hub
	}
	if _, err := localhub.Find(); err != nil {
		return command.WithHint(err, "install %s beside vmux; or --phone server, with a hub that runs elsewhere", localhub.ProgramName)
	}
	wanted["hub"] = "local"
	if f.phone == placeHome {
		wanted["hub-local-ca"] = true
		a.Say("the phone has to trust this hub once: see \"At home\" in docs/running-a-hub.md")
		return nil
	}
	if f.hubURL == "" {
		f.hubURL = tailscaleURL(ctx)
	}
	if f.hubURL == "" && asks {
		var err error
		if f.hubURL, err = a.askURL(ctx, "The URL of this computer in your tailnet (https://….ts.net): "); err != nil {
			return err
		}
	}
	if f.hubURL == "" {
		return command.Usage("--phone tailscale needs --hub-url: tailscale does not tell this computer's name", "tailscale up; or --hub-url https://NAME.TAILNET.ts.net")
	}
	wanted["hub-behind-proxy"], wanted["hub-url"] = true, f.hubURL
	a.Say("tailscale has to lead there: tailscale serve --bg 8722")
	return nil
}

func (a *app) askPlace(ctx context.Context, f *setupFlags) error {
	a.Say("where will the phone be?")
	for i, p := range places {
		a.Aside(fmt.Sprintf("  %d  %s\n", i+1, p.says))
	}
	for {
		answer := a.Asked(ctx, "A number (Enter: as it is): ")
		n, err := strconv.Atoi(answer)
		if err != nil {
			n = slices.Index(placeNames(), answer) + 1
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case answer == "":
			return nil
		case n < 1 || n > len(places):
			a.Say("it is 1 to %d, or %s", len(places), strings.Join(placeNames(), ", "))
			continue
		}
		f.phone = places[n-1].name
		if f.phone != placeServer {
			return nil
		}
		f.hub, err = a.askURL(ctx, "The hub's URL: ")
		return err
	}
}

// askURL asks until it is a hub's URL, or nothing.
func (a *app) askURL(ctx context.Context, question string) (string, error) {
	for {
		answer := a.Asked(ctx, question)
		_, err := wire.ParseHubURL(answer)
		if answer == "" || err == nil || ctx.Err() != nil {
			return answer, ctx.Err()
		}
		a.Say("%v", err)
	}
}

// hasPhone reports whether the agent that runs is paired.
func hasPhone(ctx context.Context) bool {
	s, err := command.Client().Status(ctx)
	return err == nil && len(s.Phones) > 0
}

// tailscaleURL is this computer's in its tailnet, as tailscale tells it.
func tailscaleURL(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "tailscale", "status", "--json").Output()
	var status struct{ Self struct{ DNSName string } }
	if err != nil || json.Unmarshal(out, &status) != nil || status.Self.DNSName == "" {
		return ""
	}
	return "https://" + strings.TrimSuffix(status.Self.DNSName, ".")
}
