package pagestate

import "testing"

func TestPasskeysAndOldClients(t *testing.T) {
	for version, old := range map[string]bool{
		"OpenSSH_9.2p1": true, "OpenSSH_10.2p1": true, "OpenSSH_10.3p1": false, "OpenSSH_11.0": false,
		"OpenSSH_for_Windows_9.5p1": true, "": false, "Dropbear": false,
	} {
		if tooOld(version) != old {
			t.Errorf("%s: %v", version, !old)
		}
	}
}
