package setup

import "strings"

// config puts the agent's settings into its configuration file: below [agent] if that is
// there, and else with it at the end. Each is a change of its own, since one can be added
// later than another.
func (w Wish) config() (all []Change) {
	const table = "[agent]"
	for _, setting := range w.Config {
		key, _, _ := strings.Cut(setting, " ")
		all = append(all, Change{
			Path: w.ConfigFile, Below: table, mode: 0o600, part: PartConfig + " " + key,
			Lines: "\n" + table + "\n" + marked + setting + "\n",
		})
	}
	return all
}
