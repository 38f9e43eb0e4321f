package listing

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/agent/client"
	"vmux/internal/agent/keys"
	"vmux/internal/sshagent"
	"vmux/internal/sshconfig"
	"vmux/internal/sshctx"
)

// nothing keeps no document.
type nothing struct{}

func (nothing) Get(string) ([]byte, error)                 { return nil, nil }
func (nothing) Put(string, []byte) error                   { return nil }
func (nothing) SetAside(string, time.Time) (string, error) { return "", nil }

func newMemory(t *testing.T, due func()) *Memory {
	t.Helper()
	m, warning, err := Open(Config{Documents: nothing{}, Files: &client.Files{}, MaxKeys: MaxKeys, Due: due}, time.Now())
	if err != nil || warning != "" {
		t.Fatal(warning, err)
	}
	return m
}

func TestDestinationsAreBounded(t *testing.T) {
	written := 0
	m := newMemory(t, func() { written++ })
	now := time.Now()
	host := func(i int) string { return sshctx.Fingerprint([]byte(fmt.Sprint(i))) }
	for i := range maxDestinations + 10 {
		m.learn(host(i), now.Add(time.Duration(i)), func(known *destination) { known.Key = host(0) })
	}
	if len(m.byHost) != maxDestinations || m.byHost[host(9)].Key != "" || m.byHost[host(10)].Key == "" {
		t.Errorf("%d destinations", len(m.byHost))
	}
	b, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := parse(b)
	if err != nil || len(again) != maxDestinations || again[host(20)].Key != host(0) {
		t.Errorf("%d after writing, %v", len(again), err)
	}
	m.learn(host(20), now, func(known *destination) { known.Key = host(0) })
	if written != 1 {
		t.Errorf("to be written %d times: what is known already is not", written)
	}
}

// Who has mistaken the account, twice, has all keys offered for the right one; a key
// that is taken there says nothing of the other account.
func TestFewerKeysForTheAccountThatTookNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, func() {})
		mine := []*keys.Key{{Info: keys.Info{Comment: "mine", PublicKeyBlob: []byte("mine"), Fingerprint: "mine"}}}
		id := uint64(0)
		logIn := func(account string, taken bool) string {
			id++
			c := sshagent.Connection{ID: id, Bindings: []sshctx.Binding{{HostKey: []byte("server")}}}
			m.begin(id, login{client: client.Known(client.Login{Login: sshconfig.Login{Account: account}})})
			list := m.List(Login{Connection: c, Own: true, Keys: mine}, time.Now())
			if taken {
				m.Asked(c)
			}
			m.Closed(c)
			var comments []string
			for _, id := range list {
				comments = append(comments, id.Comment)
			}
			return strings.Join(comments, " ")
		}
		for i, l := range []struct {
			account string
			taken   bool
			want    string
		}{
			{"rooot", false, "mine"}, {"rooot", false, "mine"}, {"rooot", false, ""},
			{"root", true, "mine"}, {"rooot", false, ""},
			{"", false, ""}, // it may be the same
			{"root", false, "mine"}, {"root", false, "mine"}, {"root", false, ""},
			{"rooot", true, "mine"}, {"root", false, ""}, {"", true, ""}, {"root", false, "mine"},
		} {
			if got := logIn(l.account, l.taken); got != l.want {
				t.Errorf("login %d, as %q: listed %q, want %q", i+1, l.account, got, l.want)
			}
		}
		if f := m.Fewer(); len(f) != 1 || f[0].Account != "root" {
			t.Errorf("fewer are offered to %+v", f)
		}
		if len(m.open) != 0 {
			t.Errorf("%d logins are still open", len(m.open))
		}
	})
}
