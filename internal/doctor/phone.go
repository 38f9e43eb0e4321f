package doctor

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

// The checks of this file are about the phones, and the way to them.

const (
	// slow is a round trip that a person feels at each login.
	slow     = 500 * time.Millisecond
	hintOpen = "open the app on the phone, or start `vmux phone run` there"
	// hintClock is the same as in vmux status.
	hintClock = "set both clocks by the network: `timedatectl set-ntp true` on this computer, automatic date and time on the phone"
)

func hub(f Facts) []Finding {
	if f.Status == nil || f.Status.Hub == nil {
		return nil
	}
	h := f.Status.Hub
	why, hint := cmp.Or(h.LastError, "not yet"), cmp.Or(h.ErrorHint, "curl -v "+h.URL+"/healthz")
	switch {
	case h.Connected && h.Renamed != "":
		return warn("renamed", h.Hint, "%s", h.Renamed)
	case h.Connected:
		return fine("connected", "%s", h.URL)
	case f.Status.Connected:
		return warn("not-connected", hint, "the hub is not connected: %s", why)
	}
	return fail("not-connected", hint, "the hub is not connected: %s", why)
}

func page(f Facts) []Finding {
	p := f.Page
	switch {
	case !p.Asked || hubDown(f):
		return nil
	case p.Err != nil && wire.CodeOf(p.Err) == control.CodeInvalid: // a build without the list, or no hub
		return nil
	case p.Err != nil:
		return warn("not-compared", "vmux hub verify", "the hub's page could not be compared: %s", p.Err.Error())
	case len(p.Report.Differences) > 0:
		return fail("differs", "open and unlock nothing there until you know why: vmux hub verify", "the hub serves another page than this build's: %d differences", len(p.Report.Differences))
	}
	return fine("same", "the hub serves the page of this build, version %s", p.Report.Version)
}

func hubDown(f Facts) bool { return f.Status != nil && f.Status.Hub != nil && !f.Status.Hub.Connected }

func phone(f Facts) []Finding {
	if f.Status == nil {
		return nil
	}
	var names, asleep []string
	var away control.Device
	for _, d := range f.Phones {
		switch {
		case d.Connected:
			names = append(names, d.Name)
		case d.Wakeable:
			asleep = append(asleep, d.Name)
		case away.Hint == "":
			away = d
		}
	}
	switch {
	case len(f.Phones) == 0:
		return fail("none", "vmux pair", "no phone is paired")
	case len(names) > 0 && f.listed() == 0 && !f.Status.Locked:
		return fail("no-keys", "make an identity in the phone's app, or: vmux phone identity create", "%s is connected, and has no key that is switched on", strings.Join(names, ", "))
	case len(names) > 0:
		return fine("connected", "%s", strings.Join(names, ", "))
	case hubDown(f): // is what keeps it away
		return nil
	case len(asleep) > 0:
		return fine("asleep", "%s is not connected, and is rung when a request waits", strings.Join(asleep, ", "))
	case away.NotReached != "":
		return fail("not-reached", cmp.Or(away.Hint, hintOpen), "%s is not reached: %s", away.Name, away.NotReached)
	}
	return fail("away", hintOpen, "no phone is connected")
}

func latency(f Facts) (all []Finding) {
	for _, d := range f.Phones {
		took := time.Duration(d.RoundTripMilliseconds * float64(time.Millisecond))
		switch {
		case !d.Connected:
		case took == 0:
			all = append(all, warn("no-answer", "vmux status --watch", "%s is linked, and does not answer", d.Name)...)
		case took > slow:
			all = append(all, warn("slow", "vmux status --watch", "%s takes %d ms to answer, there and back", d.Name, took.Milliseconds())...)
		default:
			all = append(all, fine("round-trip", "%s answers in %d ms, there and back", d.Name, max(1, took.Milliseconds()))...)
		}
	}
	return all
}

func clock(f Facts) (all []Finding) {
	for _, d := range f.Phones {
		off := time.Duration(d.ClockDifferenceMilliseconds) * time.Millisecond
		switch {
		case !d.Connected || off.Abs() < wire.ClockWarning:
		case off.Abs() >= wire.Window:
			all = append(all, fail("off", hintClock, "the clocks of this computer and of %s differ by %d s: it refuses requests", d.Name, int(off.Abs().Seconds()))...)
		default:
			all = append(all, warn("off", hintClock, "the clocks of this computer and of %s differ by %d s", d.Name, int(off.Abs().Seconds()))...)
		}
	}
	return all
}

// waking is whether phones can be woken, by what is known of them; with --ring it was tried.
func waking(f Facts) (all []Finding) {
	if f.Status == nil || hubDown(f) {
		return nil
	}
	for _, w := range f.Woken {
		if w.Error != nil {
			all = append(all, warn("failed", w.Error.Hint, "%s was not rung: %s", w.Name, w.Error.Sentence)...)
		} else {
			all = append(all, fine("rung", "%s was rung: look at it", w.Name)...)
		}
	}
	if len(f.Woken) > 0 {
		return all
	}
	for _, d := range f.Phones {
		switch {
		case d.WakeProblem != "":
			all = append(all, warn("cannot", d.WakeHint, "%s cannot be rung: %s", d.Name, d.WakeProblem)...)
		case d.LastWake != nil && d.LastWake.Error != "":
			all = append(all, warn("failed", "vmux ring", "the last time %s was not rung: %s", d.Name, d.LastWake.Error)...)
		case d.Wakeable:
			all = append(all, fine("can", "%s can be rung; vmux doctor --ring tries it", d.Name)...)
		}
	}
	return all
}

func certificate(f Facts) (all []Finding) {
	if f.Status == nil {
		return nil
	}
	for _, d := range f.Phones {
		if d.CAChangedTo != "" {
			all = append(all, fail("ca-changed", "compare it with the phone, then: vmux ca accept", "%s has another CA than the one that was accepted", d.Name)...)
		}
	}
	switch c := f.Status.Certificate; {
	case len(all) > 0 || f.Status.Locked:
	case c.State == control.CertificateExpired:
		return warn("expired", "vmux cert request", "the session certificate has expired: the phone is asked at each login")
	case c.State == control.CertificateValid:
		return fine("valid", "a session certificate until %s", c.ValidBefore.Local().Format(control.TimeLayout))
	default:
		return fine("none", "no session certificate: the phone is asked at each login")
	}
	return all
}

// versions compares numbers where there are any: a build of a checkout has none.
func versions(f Facts) (all []Finding) {
	if f.Status == nil {
		return nil
	}
	if f.Status.Version != f.Version {
		all = warn("agent", f.restart(), "the agent is version %s, and this program %s", f.Status.Version, f.Version)
	}
	own := versionIn(f.Version)
	for _, d := range f.Phones {
		if v := versionIn(d.ProgramVersion); d.Connected && v != (version{}) && v != own {
			all = append(all, warn("phone", "bring the phone's app or program, the hub and this computer to the same version", "%s has version %s, and this computer %s", d.Name, d.ProgramVersion, f.Version)...)
		}
	}
	if len(all) == 0 {
		return fine("same", "vmux %s", f.Version)
	}
	return all
}

// waysIn is what is left when a phone is lost: a key that two phones hold, keys of two, or
// what the phone knows of.
func waysIn(f Facts) []Finding {
	if f.listed() == 0 || f.Status.Locked {
		return nil
	}
	var holders []string // by ID: a new phone often has the name of the old one
	for _, d := range f.Phones {
		if slices.ContainsFunc(f.Status.Identities, func(i control.Identity) bool { return slices.Contains(i.PhoneIDs, d.ID) }) {
			holders = append(holders, d.Name)
		}
	}
	if len(holders) > 1 {
		return fine("several", "keys are held by %s", strings.Join(holders, ", "))
	}
	if slices.ContainsFunc(f.Status.Identities, func(i control.Identity) bool { return i.SecondWay }) {
		return fine("kept", "%s alone holds your keys, and says that there is a second way in", strings.Join(holders, ""))
	}
	return warn("one", "pair a second phone and put its key on your servers; keep a backup: vmux phone backup FILE, or in the app Settings, Second way in",
		"%s alone holds your keys: without it there is no login", strings.Join(holders, ""))
}
