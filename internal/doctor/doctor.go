// Package doctor says what stands between a person and a login. Looking is one half,
// Look, which takes its time from nobody: everything is looked at at once, and each
// thing has its own bound. Judging is the other, a small function of the facts for each
// check. What only follows from something else that is wrong is not named.
package doctor

import (
	"fmt"
	"slices"

	"vmux/internal/wire"
)

// Level says how bad it is.
type Level string

// The levels. A warning is something that a login can do without, today.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Failure Level = "failure"
)

// Finding is what one check has found.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	// Code is one of a fixed list of words, and the same for everybody.
	Code string `json:"code"`
	// Text and Hint are for people: what it is, and the next command.
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

// checks are in the order in which a login meets what they look at.
var checks = []struct {
	name  string
	check func(Facts) []Finding
}{
	{"looking", unanswered},
	{"agent", agentRuns},
	{"socket", socketAnswers},
	{"permissions", permissions},
	{"lock", lock},
	{"ssh", sshVersion},
	{"ssh's configuration", sshConfig},
	{"shell", shell},
	{"desktop", desktop},
	{"other agents", otherAgents},
	{"service", service},
	{"hub", hub},
	{"hub's page", page},
	{"phone", phone},
	{"latency", latency},
	{"clock", clock},
	{"ring", waking},
	{"certificate", certificate},
	{"versions", versions},
	{"ways in", waysIn},
	{"server", server},
}

// Judge goes through all checks.
func Judge(f Facts) []Finding {
	all := []Finding{}
	for _, c := range checks {
		for _, found := range c.check(f) {
			found.Check = c.name
			all = append(all, found)
		}
	}
	return all
}

// Worst is the level of the worst finding.
func Worst(all []Finding) Level {
	for _, level := range []Level{Failure, Warning} {
		if slices.ContainsFunc(all, func(f Finding) bool { return f.Level == level }) {
			return level
		}
	}
	return OK
}

// Report is what can be posted: which checks found what, and which versions there are.
// It is made of words of this program's own, so that no key, name, address or token
// can be in it.
type Report struct {
	Version  string          `json:"version"`
	Platform string          `json:"platform"`
	OpenSSH  string          `json:"openSSH"`
	Findings []ReportFinding `json:"findings"`
}

// ReportFinding is a Finding without the words that are for its owner.
type ReportFinding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Code  string `json:"code"`
}

// ReportOf leaves of the findings what can be posted.
func ReportOf(f Facts, all []Finding) Report {
	r := Report{Version: f.Version, Platform: f.Platform, OpenSSH: f.SSH.version().String(), Findings: []ReportFinding{}}
	for _, found := range all {
		r.Findings = append(r.Findings, ReportFinding{found.Check, found.Level, found.Code})
	}
	return r
}

func found(level Level, code, hint, text string, args []any) []Finding {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = wire.Show(s)
		}
	}
	return []Finding{{Level: level, Code: code, Text: fmt.Sprintf(text, args...), Hint: wire.Show(hint)}}
}

func fine(code, text string, args ...any) []Finding { return found(OK, code, "", text, args) }

func warn(code, hint, text string, args ...any) []Finding {
	return found(Warning, code, hint, text, args)
}

func fail(code, hint, text string, args ...any) []Finding {
	return found(Failure, code, hint, text, args)
}
