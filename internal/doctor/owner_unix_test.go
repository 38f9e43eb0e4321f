//go:build unix

package doctor

import "testing"

// A group is nobody else's that has the user's name, and no other member.
func TestPrivateGroup(t *testing.T) {
	const users = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:50::/home/bob:/bin/sh\n"
	for name, c := range map[string]struct {
		gid, groups, users string
		want               bool
	}{
		"her own":              {"1000", "adm:x:4:alice\nalice:x:1000:\n", users, true},
		"her own, named":       {"1000", "alice:x:1000:alice", users, true},
		"with a guest":         {"1000", "alice:x:1000:alice,bob\n", users, false},
		"with another's login": {"1000", "alice:x:1000:\n", users + "carol:x:1002:1000::/:/bin/sh\n", false},
		"of many":              {"100", "users:x:100:\n", users, false},
		"of a directory":       {"1000", "adm:x:4:\n", users, false},
	} {
		if got := private("alice", c.gid, c.groups, c.users); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
