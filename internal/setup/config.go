package setup

import (
	"regexp"
	"strings"
)

// agentTable begins the agent's settings.
const agentTable = "[agent]\n"

// config puts the agent's settings into its configuration file: below [agent] if that is
// there, and else with it at the end. Each is a change of its own, since one can be added
// later than another.
func (w Wish) config() (all []Change) {
	for _, setting := range w.Config {
		key, _, _ := strings.Cut(setting, " ")
		all = append(all, Change{
			Path: w.ConfigFile, Below: strings.TrimSpace(agentTable), mode: 0o600, part: PartConfig + " " + key,
			Lines: "\n" + agentTable + marked + setting + "\n",
		})
	}
	return all
}

// dotted is a setting of the agent outside of its table.
var dotted = regexp.MustCompile(`^\s*(agent|"agent"|'agent')\s*[.=]`)

// otherForm returns the line in which the agent's settings begin in a form to which no
// table can be added (TOML has it only once): agent.hub = "none", agent = { hub = "none" }.
func otherForm(text string) int {
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(text, byteOrderMark)) {
		n++
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "["):
			return 0
		case dotted.MatchString(line):
			return n
		}
	}
	return 0
}
