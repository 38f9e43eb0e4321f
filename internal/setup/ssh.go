package setup

import (
	"os/user"
	"path/filepath"
	"strings"
)

// marked begins each piece that is put into a person's file.
const marked = "# vmux: `vmux setup --undo` takes this out.\n"

// allHosts begins what counts for each host.
const allHosts = "Host *\n"

// ssh names the agent to every host for which the person's file names none: ssh takes
// the first value that it finds, so the piece stands at the end, and below `Host *`,
// since it would belong to the last host there otherwise. The fragment's name keeps it from
// an "Include config.d/*" of the person's, by which it would count before their hosts, and
// it names no host itself, which some programs do not take below another one.
func (w Wish) ssh() []Change {
	folder := filepath.Join(w.Home, ".ssh")
	fragment := filepath.Join(folder, "config.d", ".vmux.conf")
	include := "config.d/.vmux.conf" // below the ~/.ssh of the user database
	if me, err := user.Current(); err != nil || filepath.Clean(me.HomeDir) != filepath.Clean(w.Home) {
		include = sshQuote(fragment)
	}
	return []Change{
		{Path: fragment, Own: true, mode: 0o600, Lines: marked + "IdentityAgent " + sshPath(w.tilde(w.Socket)) + "\n"},
		{Path: filepath.Join(folder, "config"), mode: 0o600, Lines: "\n" + marked + allHosts + "    Include " + include + "\n"},
	}
}

// tilde is a path as a person has it who keeps the file on several machines.
func (w Wish) tilde(path string) string {
	me, err := user.Current()
	if err != nil || filepath.Clean(me.HomeDir) != filepath.Clean(w.Home) {
		return path // ssh takes ~ from the user database, whatever HOME is
	}
	if below, ok := strings.CutPrefix(path, filepath.Clean(w.Home)+"/"); ok {
		return "~/" + below
	}
	return path
}

// sshPath is a path for IdentityAgent, which expands % and $.
func sshPath(path string) string {
	return sshQuote(strings.ReplaceAll(path, "%", "%%"))
}

func sshQuote(s string) string {
	if strings.ContainsAny(s, " \t#'\"\\") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	return s
}
