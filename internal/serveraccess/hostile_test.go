package serveraccess

import (
	"strings"
	"testing"

	"vmux/internal/wire"
)

// attacker: a server whose names move the terminal's cursor, or are commands for who copies
// the line that is missing.
func TestVerdictsAreFitToBeShown(t *testing.T) {
	const evil = "/etc/\x1b[2J\u202e;id>&2\n#/x"
	facts := Facts{Software: "OpenSSH_9.2p1", Account: evil, ConfigFile: evil, KeysFile: evil, Loose: []string{evil}, Config: map[string]string{}}
	ca := Candidate{Line: newKey, CA: true, Principals: []string{"ada"}}
	facts.Keys = appendEntry(nil, newKey)
	withCA := facts
	withCA.Config = map[string]string{"trustedusercakeys": evil}
	withCA.CAs = facts.Keys
	for _, v := range []Verdict{facts.Judge(Candidate{Line: newKey}), facts.Judge(ca), withCA.Judge(ca)} {
		if v.Works || !wire.Printable(v.Missing) {
			t.Errorf("%+v", v)
		}
		if strings.HasPrefix(v.Missing, "chmod") && !strings.HasPrefix(v.Missing, "chmod go-w '") {
			t.Errorf("two commands: %s", v.Missing)
		}
	}
}
