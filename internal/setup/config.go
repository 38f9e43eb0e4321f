package setup

import "strings"

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
