package serveraccess

import (
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
