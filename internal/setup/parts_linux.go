package setup

import (
	"os"
	"path/filepath"
	"strings"
)

// Parts are those that there are here, in the order in which they are made.
var Parts = []string{PartSSH, PartService, PartEnvironment, PartShell, PartTray}

func (w Wish) service() []Change { return w.systemd() }

func (w Wish) phone() []Change { return w.phoneService() }

func (w Wish) environment() []Change { return w.environmentD() }

// bashFiles are what bash reads in a new terminal: .bashrc, or in a login shell, as tmux and
// ssh start it, a profile, which as a rule reads .bashrc.
func (w Wish) bashFiles() []string {
	profile := w.bashProfile()
	b, err := os.ReadFile(filepath.Join(w.Home, profile))
	if err != nil || strings.Contains(string(b), "bashrc") {
		return []string{".bashrc"}
	}
	return []string{".bashrc", profile}
}
