package signer

import "testing"

// The phone's documents can be written by another program of the same user, or by an
// older version: what moves a terminal's cursor is cleaned as they are read.
func TestHostileDocumentsAreCleaned(t *testing.T) {
	p := newPhone(t)
	for name, text := range map[string]string{
		"hosts.json":     `{"version":1,"hosts":[{"hostKey":"AA==","names":["db\u001b[2J"],"users":["root\u202e"]}]}`,
		pausesDocument:   `{"version":1,"pauses":[{"deviceName":"lap\u001btop","program":"ssh\u0007","until":"2100-01-01T00:00:00Z"}]}`,
		"activity.jsonl": `{"seq":1,"kind":"sign","deviceName":"lap\u001btop","label":"work","what":"root@\u202eprod","lines":[{"name":"user","value":"ro\u001bot"}]}` + "\n",
	} {
		if err := p.cfg.Store.Put(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	host, pause, record := must(p.Hosts.All())[0], must(p.Pauses())[0], must(p.Activity.Records())[0]
	for want, got := range map[string]interface{ String() string }{
		"db\uFFFD[2J": host.Names[0], "root\uFFFD": host.Users[0],
		"lap\uFFFDtop": pause.DeviceName, "ssh\uFFFD": pause.Program,
		"root@\uFFFDprod": record.What, "ro\uFFFDot": record.Lines[0].Value,
	} {
		if got.String() != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if record.DeviceName != pause.DeviceName {
		t.Errorf("got %q", record.DeviceName)
	}
}
