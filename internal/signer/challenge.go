package signer

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"vmux/internal/signer/activity"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// maxChallengeAge is how far the time of sudo's challenge may be from this phone's. The
// host asks as soon as it has made one, and a person has 140 s at most; the rest is for
// clocks that differ. Without it a host could keep one until its owner is likely to say yes.
const maxChallengeAge = 5 * time.Minute

// checkAge refuses a challenge of another time.
func checkAge(c *sshctx.Challenge, now time.Time) error {
	if c == nil || now.Sub(time.Unix(int64(c.Time), 0)).Abs() <= maxChallengeAge {
		return nil
	}
	return wire.Errorf(wire.CodeReplayDetected,
		"The challenge is of another time than now, by over %.0f minutes: it is an old one, or the clock of the host that asks is wrong.", maxChallengeAge.Minutes())
}

// challengeTitle: `sudo on web-1 by ada (claimed)`. All of it is the word of the host.
func challengeTitle(k sshctx.Context) wire.Text {
	c := k.Challenge
	host := brief(wire.Clean(c.Host), maxTitleHost)
	if host == (wire.Text{}) {
		host = wire.Say("unknown")
	}
	title := wire.Say("%s on %s by %s", brief(wire.Clean(c.Program), maxTitleUser), host, brief(wire.Clean(k.User), maxTitleUser))
	if c.Account != k.User { // su, whose challenge names the other one
		title = wire.Say("%s for %s", title, brief(wire.Clean(c.Account), maxTitleUser))
	}
	return wire.Say("%s (claimed)", title)
}

// Sizes of a command on a sheet, in bytes: of a line, and of all of it.
const (
	maxCommandLine = 200
	maxCommand     = 2000
)

// describeChallenge tells what the host says, and that nothing else tells it.
func describeChallenge(k sshctx.Context, verified func(string, wire.Text)) (list []activity.Line) {
	said := func(name string, value wire.Text) {
		if value != (wire.Text{}) {
			list = append(list, activity.Line{Name: name, Value: value, Quality: activity.QualityAsker})
		}
	}
	verified("kind", wire.Say("a challenge of pam_ssh_agent_auth, which logs in nowhere"))
	c := k.Challenge
	command, isCut := commandOf(c.Arguments)
	switch {
	case len(c.Arguments) == 0:
		verified("caution", wire.Say("the host does not say which command it is for"))
	case len(command) > maxCommand:
		verified("caution", wire.Say("the command goes on: %s bytes of it are not shown", wire.Clean(strconv.Itoa(len(command)-maxCommand))))
	case isCut:
		verified("caution", wire.Say("the command may go on: of what is long only the beginning is told and shown"))
	}
	name := "command"
	for command = command[:min(len(command), maxCommand)]; command != ""; name = "…" {
		end := min(len(command), maxCommandLine)
		for end < len(command) && !utf8.RuneStart(command[end]) {
			end--
		}
		said(name, wire.Clean(command[:end]))
		command = command[end:]
	}
	said("host", wire.Clean(c.Host))
	said("folder", wire.Clean(c.Directory))
	return list
}

// maxShown is how long an argument is shown whole for certain: quotes, and signs that move
// a cursor or hide, as ends of lines do, are longer as they are shown, and wire.Show cuts.
const maxShown = wire.MaxNameSize - utf8.UTFMax

// commandOf is the command as it could be typed, and whether something may be missing of
// an argument. What is not one word stands in quotes, as in a title.
func commandOf(arguments []string) (command string, isCut bool) {
	words := make([]string, len(arguments))
	for i, a := range arguments {
		if words[i] = brief(wire.Clean(a), wire.MaxNameSize).String(); words[i] == "" {
			words[i] = `""`
		}
		isCut = isCut || len(a) >= sshctx.MaxArgument || len(words[i]) >= maxShown
	}
	return strings.Join(words, " "), isCut || len(arguments) == sshctx.MaxArguments
}
