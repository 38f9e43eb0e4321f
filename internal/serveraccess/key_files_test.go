package serveraccess

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vmux/internal/sshdtest"
)

// sshd reads several files with keys. A key in the second works, is not put in twice, and
// is taken out of there; and of a key that stands in another line as well it is said that
// it still logs in.
func TestSecondFileWithKeys(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		s := start(t, o)
		c := s.open()
		second := strings.Fields(c.Facts.Config["authorizedkeysfile"])[1]
		before := s.get(second)
		s.put(s.keys, "# mine\n")
		s.put(second, before+newKey+"\n")
		if v := s.open().Judge(Candidate{Line: newKey}); !v.Works {
			t.Errorf("it works there: %+v", v)
		}
		if r := s.apply(c, Change{Act: PutKey, Line: newKey}); !r.Already || r.File != second || s.get(s.keys) != "# mine\n" {
			t.Errorf("put in twice: %+v, %q", r, s.get(s.keys))
		}
		restricted := `from="192.0.2.7" ` + newKey + "\n"
		s.put(s.keys, restricted)
		if r := s.apply(c, Change{Act: TakeKey, Line: newKey}); r.File != second || r.Still != s.keys || s.get(second) != before || s.get(s.keys) != restricted {
			t.Errorf("taken out: %+v, %q, %q", r, s.get(second), s.get(s.keys))
		}
	})
}

// A line of a CA that somebody has put out of use is none.
func TestCAInAComment(t *testing.T) {
	t.Parallel()
	s := start(t, sshdtest.Old(t), "TrustedUserCAKeys %s/cas")
	file := s.dir + "/cas"
	s.put(file, "# "+newKey+"\n")
	if r := s.apply(s.open(), Change{Act: PutCA, Line: newKey}); r.Already || s.get(file) != "# "+newKey+"\n"+newKey+"\n" {
		t.Errorf("%+v: %q", r, s.get(file))
	}
}

// In a file that sshd reads for all accounts a key would let in to each of them: it goes into
// the account's own, whichever sshd reads first, or into none.
func TestFilesOfAllAccounts(t *testing.T) {
	t.Parallel()
	s := start(t, sshdtest.Old(t))
	config, everybody := s.get(s.Path("sshd_config")), filepath.Join(t.TempDir(), "everybody")
	old := s.get(strings.Fields(s.open().Facts.Config["authorizedkeysfile"])[1])
	s.put(everybody, old)
	reads := func(files string) *Connection {
		t.Helper()
		s.put(s.Path("sshd_config"), "AuthorizedKeysFile "+files+"\n"+config)
		return s.open()
	}
	own := filepath.Join(t.TempDir(), s.User)
	for files, file := range map[string]string{
		everybody + " " + s.keys: s.keys, everybody + " " + filepath.Dir(own) + "/%u": own, filepath.Dir(own) + "/%u " + s.keys: s.keys,
	} {
		c := reads(files)
		if r := s.apply(c, Change{Act: PutKey, Line: newKey}); c.KeysFile != file || r.File != file || s.get(file) != newKey+"\n" {
			t.Errorf("%s: %s, %+v, %q", files, c.KeysFile, r, s.get(file))
		}
		s.apply(c, Change{Act: TakeKey, Line: newKey, Put: Placed{Made: true}})
	}
	c := reads(everybody)
	_, err := c.Apply(s.deadline(), Change{Act: PutKey, Line: newKey}, yes, noted)
	if err == nil || !strings.Contains(err.Error(), everybody+", which may be a file of all accounts: the key could log in to each of them") || s.get(everybody) != old {
		t.Errorf("%v: %q", err, s.get(everybody))
	}
}

// Another user's file stays that user's, though the account could put its own in its place.
func TestAnotherUsersFile(t *testing.T) {
	t.Parallel()
	s := start(t, sshdtest.Old(t))
	s.put(s.keys, "# mine\n")
	before, err := os.Stat(s.keys)
	if err != nil {
		t.Fatal(err)
	}
	s.program("bin/id", "#!/bin/sh\n[ \"$*\" != -u ] || { echo 4711; exit; }\nexec /usr/bin/id \"$@\"\n")
	s.apply(s.open(), Change{Act: PutKey, Line: newKey})
	if after, err := os.Stat(s.keys); err != nil || !os.SameFile(before, after) || s.get(s.keys) != "# mine\n"+newKey+"\n" {
		t.Errorf("%v: %q, another file", err, s.get(s.keys))
	}
}

// Of a host that is there for its tunnels no session is in its configuration's way.
func TestHostOfTunnels(t *testing.T) {
	t.Parallel()
	s := start(t, sshdtest.Old(t))
	_, behind, _ := strings.Cut(s.get(s.ssh), " -F ")
	config, _, _ := strings.Cut(behind, " ")
	s.put(config, s.get(config)+"SessionType none\nStdinNull yes\nForkAfterAuthentication yes\n")
	s.apply(s.open(), Change{Act: PutKey, Line: newKey})
}

// Debian's sshd takes keys where the account's own group may write, in which nobody else is.
func TestGroupThatMayWrite(t *testing.T) {
	t.Parallel()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	both(t, func(t *testing.T, o sshdtest.OpenSSH) {
		s := start(t, o)
		s.put(s.keys, "")
		folder := filepath.Dir(s.keys)
		for mode, fine := range map[os.FileMode]bool{0o770: group.Name == me.Username, 0o777: false, 0o700: true} {
			if err := os.Chmod(folder, mode); err != nil {
				t.Fatal(err)
			}
			f := s.open().Facts
			if want := !fine || mode == 0o770 && (f.AtLeast(10, 0) || !strings.Contains(f.Software, "Debian")); slices.Contains(f.Loose, folder) != want {
				t.Errorf("%s, %v: %v", f.Software, mode, f.Loose)
			}
		}
	})
}

// Of a file behind symbolic links, as dotfiles are kept, who may write to it is asked of what they lead to.
func TestLinksOnTheWay(t *testing.T) {
	t.Parallel()
	s := start(t, sshdtest.Old(t))
	real := filepath.Join(s.dir, "dotfiles", "ssh")
	s.put(filepath.Join(real, "keys"), newKey+"\n")
	for link, to := range map[string]string{filepath.Dir(s.keys): "dotfiles/ssh", filepath.Join(real, "authorized_keys"): "keys"} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	if f := s.open().Facts; len(f.Loose) != 0 || !f.Judge(Candidate{Line: newKey}).Works {
		t.Errorf("%v, %+v", f.Loose, f.Judge(Candidate{Line: newKey}))
	}
	if err := os.Chmod(real, 0o707); err != nil {
		t.Fatal(err)
	}
	if f := s.open().Facts; len(f.Loose) != 1 || filepath.Base(f.Loose[0]) != "ssh" {
		t.Errorf("%v", f.Loose)
	}
}
