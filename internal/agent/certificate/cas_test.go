package certificate

import (
	"strings"
	"testing"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

func TestCAChangeIsRefusedUntilAccepted(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *phone) {
		w.connect(p)
		w.wantState(control.CertificateValid, "after link-up")
		before := w.Current().Blob
		p.ca = newSigner(t)
		if err := w.asks(t.Context(), DefaultValidity); wire.CodeOf(err) != control.CodeCAChanged {
			t.Fatalf("another CA: %v", err)
		}
		if string(w.Current().Blob) != string(before) {
			t.Error("the refused certificate is used")
		}
		ca, ok := w.CAs.Show(p.peer)
		if !ok || ca.Confirmed || ca.Previous == "" || len(w.warnings()) != 1 {
			t.Fatalf("CA %+v, %v; warnings %q", ca, ok, w.warnings())
		}
		if err := w.asks(t.Context(), DefaultValidity); wire.CodeOf(err) != control.CodeCAChanged || len(p.requests()) != 2 {
			t.Errorf("asked %d times, for what cannot be used: %v", len(p.requests()), err)
		}
		if _, err := w.CAs.Accept(p.peer, "SHA256:other"); err == nil {
			t.Error("accepted under another fingerprint")
		}
		if _, err := w.CAs.Accept(p.peer, ca.Fingerprint); err != nil {
			t.Fatal(err)
		}
		if err := w.asks(t.Context(), DefaultValidity); err != nil {
			t.Errorf("after accepting: %v", err)
		}
		if len(w.warnings()) != 0 {
			t.Errorf("warnings stay: %q", w.warnings())
		}
	})
}

// A phone's CA is pinned over the agent's restart: another one is refused then as
// well, until the user accepts it, and that is remembered too.
func TestPinsRest(t *testing.T) {
	w := newWorld(t)
	phone, other := w.addPhone(1, "phone").peer, w.addPhone(2, "otherphone").peer
	first, second := newSigner(t).PublicKey().Marshal(), newSigner(t).PublicKey().Marshal()
	w.restart() // paired, and the computer restarts before the phone says hello
	if err := w.CAs.Check(phone, first); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if err := w.CAs.Check(phone, second); wire.CodeOf(err) != control.CodeCAChanged {
		t.Errorf("another CA after a restart: %v", err)
	}
	if err := w.CAs.Check(other, second); err != nil {
		t.Errorf("another phone's first CA: %v", err)
	}
	if _, err := w.CAs.Accept(phone, sshctx.Fingerprint(second)); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if err := w.CAs.Check(phone, second); err != nil {
		t.Errorf("the accepted CA after a restart: %v", err)
	}
	if err := w.CAs.Check(phone, first); wire.CodeOf(err) != control.CodeCAChanged {
		t.Errorf("the CA of before: %v", err)
	}
	if err := w.CAs.Forget(phone.ID); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if pinned, _ := w.CAs.Of(phone.ID); pinned != nil {
		t.Error("a pin stays after the phone is unpaired")
	}
	if pinned, _ := w.CAs.Of(other.ID); pinned == nil {
		t.Error("the pin of another phone is gone")
	}
}

// A CA that a phone did not have when it was paired needs the user's word, also
// where the pairing is older than this rule: such an agent had pinned each CA that
// it saw.
func TestFirstCAAfterPairing(t *testing.T) {
	ca := newSigner(t).PublicKey().Marshal()
	for name, before := range map[string]func(*world, device.Peer){
		"paired before this rule": func(w *world, p device.Peer) {
			delete(w.docs, documentCAs)
			w.restart()
		},
		"paired, and without one at first": func(w *world, p device.Peer) {
			if err := w.CAs.Check(p, nil); err != nil {
				t.Fatal(err)
			}
		},
	} {
		w := newWorld(t)
		p := w.addPhone(1, "phone").peer
		before(w, p)
		w.restart()
		for range 2 {
			err := w.CAs.Check(p, ca)
			if wire.CodeOf(err) != control.CodeCAChanged || !strings.Contains(err.Error(), "did not have when it was paired") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if shown, ok := w.CAs.Show(p); !ok || shown.Confirmed || shown.Previous != "" {
			t.Errorf("%s: CA %+v, %v", name, shown, ok)
		}
		if _, err := w.CAs.Accept(p, sshctx.Fingerprint(ca)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		w.restart()
		if err := w.CAs.Check(p, ca); err != nil {
			t.Errorf("%s: accepted, after a restart: %v", name, err)
		}
	}
}

// Damaged pins must not let in whatever CA comes next.
func TestDamagedPinsFailClosed(t *testing.T) {
	for _, text := range []string{"damaged", `{"version":99,"cas":[]}`, "null", ""} {
		w := newWorld(t)
		p := w.addPhone(1, "phone").peer
		w.docs[documentCAs] = []byte(text)
		for _, when := range []string{"after the pins were lost", "and after the next start"} {
			w.restart()
			if err := w.CAs.Check(p, []byte("blob")); wire.CodeOf(err) != control.CodeCAChanged {
				t.Errorf("%q: a CA is trusted at first sight %s: %v", text, when, err)
			}
		}
	}
}
