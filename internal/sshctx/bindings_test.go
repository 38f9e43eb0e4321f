package sshctx

import "testing"

// A client uses a connection for a login that is not the connection's own.
func TestContradiction(t *testing.T) {
	login := func(kind Kind, session, host string) Context {
		return Context{Kind: kind, SessionID: []byte(session), HostKey: []byte(host)}
	}
	bound := func(session, host string, forwarding bool) Binding {
		return Binding{SessionID: []byte(session), HostKey: []byte(host), Forwarding: forwarding}
	}
	for _, test := range []struct {
		name     string
		about    Context
		bindings []Binding
		want     bool
	}{
		{"nothing bound", login(UserAuth, "s", ""), nil, false},
		{"its own", login(UserAuth, "s", ""), []Binding{bound("s", "h", false)}, false},
		{"its own, host-bound", login(HostBound, "s", "h"), []Binding{bound("s", "h", false)}, false},
		{"another session", login(UserAuth, "x", ""), []Binding{bound("s", "h", false)}, true},
		{"another host", login(HostBound, "s", "x"), []Binding{bound("s", "h", false)}, true},
		{"through a hop", login(HostBound, "s", "h"), []Binding{bound("a", "b", true), bound("s", "h", false)}, false},
		{"a hop whose ssh does not bind", login(UserAuth, "s", ""), []Binding{bound("a", "b", true)}, false},
		{"the forwarded session itself", login(UserAuth, "a", ""), []Binding{bound("a", "b", true)}, true},
		{"a signature for git", Context{Kind: SSHSIG}, []Binding{bound("s", "h", false)}, false},
		{"bytes of any kind", Context{}, []Binding{bound("s", "h", false)}, false},
	} {
		if got := Contradicts(test.bindings, test.about); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// A host that the agent is forwarded to binds the session of a login elsewhere
// to its own key. It gets no name for that.
func TestForwardedBindingGivesNoName(t *testing.T) {
	login := Context{Kind: UserAuth, SessionID: []byte("s")}
	own := Binding{SessionID: []byte("s"), HostKey: []byte("bastion")}
	hop := Binding{SessionID: []byte("h"), HostKey: []byte("bastion"), Forwarding: true}
	if got := ServerOf([]Binding{own}, login); string(got) != "bastion" {
		t.Errorf("bound here: %q", got)
	}
	if got := ServerOf([]Binding{hop, own}, login); got != nil {
		t.Errorf("bound there: %q", got)
	}
	login.Kind, login.HostKey = HostBound, []byte("prod")
	if got := ServerOf([]Binding{hop}, login); string(got) != "prod" {
		t.Errorf("named by what is signed: %q", got)
	}
}
