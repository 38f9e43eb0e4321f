package browserphone

import "testing"

// The page renews its subscription whenever the hub is back. Who turns notifications off
// while it is at that has them off: neither what it makes nor why it could not make it
// turns them on again, and the hub gets nothing.
func TestRenewalTurnsNothingOn(t *testing.T) {
	p := newPage(t)
	renewal := map[string]any{"subscription": map[string]any{"endpoint": "https://push.example/1"}, "renewal": true}
	p.wantFailure("pushOff", "subscribePush", renewal)
	p.must("pushFailed", map[string]any{"kind": "pushSlow"})
	if s, err := p.settings(); err != nil || s.Push {
		t.Errorf("%+v, %v", s, err)
	}
	if err := p.setPush(true, ""); err != nil {
		t.Fatal(err)
	}
	p.wantFailure(errNoHub.Code, "subscribePush", renewal) // to which it would go
	p.must("unsubscribePush", map[string]any{})
	p.wantFailure("pushOff", "subscribePush", renewal)
}
