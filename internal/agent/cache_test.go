package agent

import (
	"encoding/base64"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"vmux/internal/agent/keys"
	"vmux/internal/agent/listing"
	"vmux/internal/device"
	"vmux/internal/sshctx"
	"vmux/internal/state"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// After a restart the keys are listed though the phone is away.
func TestCacheSurvivesRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.addPhone(1, "phone")
		p.keys = []wire.RemoteSignerPublicKey{remoteKey(newSigner(t), "mine"), remoteKey(newSigner(t), "other")}
		w.connect(p)
		synctest.Wait()
		w.stop()
		again := newWorldIn(t, w.docs, w.trust)
		if got := again.comments(); !slices.Equal(got, []string{"mine", "other"}) {
			t.Errorf("after a restart: %q", got)
		}
		again.net.phones = w.net.phones
		p.keys = p.keys[1:]
		if _, err := again.RefreshKeys(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := again.comments(); !slices.Equal(got, []string{"other"}) {
			t.Errorf("a key removed on the phone stays after a refresh: %q", got)
		}
		if _, err := again.Unpair("phone"); err != nil {
			t.Fatal(err)
		}
		if got := again.comments(); len(got) != 0 {
			t.Errorf("keys of an unpaired phone: %q", got)
		}
		if left := newWorldIn(t, w.docs, w.trust).comments(); len(left) != 0 {
			t.Errorf("keys of an unpaired phone after a restart: %q", left)
		}
		again.stop()
	})
}

func TestDamagedCacheIsSetAside(t *testing.T) {
	for name, damaged := range map[string]string{
		"cut": `{"version":1,"pho`, "not JSON": "\x00\x01", "other version": `{"version":2,"cachedKeys":[]}`,
		"wrong key": `{"version":1,"cachedKeys":[{"deviceID":"` + device.ID{1}.String() + `","keys":[{"publicKeyBlob":"AAAA"}]}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			docs, err := state.OpenDir(filepath.Join(t.TempDir(), "agent"))
			if err != nil {
				t.Fatal(err)
			}
			if err := docs.Put(keys.Document, []byte(damaged)); err != nil {
				t.Fatal(err)
			}
			w := newWorldIn(t, docs, device.NewTrust(&testkit.Document{}))
			if s := w.Status(); len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], keys.Document+".damaged-") {
				t.Errorf("warnings %q", s.Warnings)
			}
			names, err := docs.List(keys.Document)
			if err != nil || len(names) != 1 {
				t.Fatalf("documents %q, %v", names, err)
			}
			if kept, err := docs.Get(names[0]); err != nil || string(kept) != damaged {
				t.Errorf("what was set aside is %q, %v", kept, err)
			}
			w.stop()
		})
	}
}

// What agents wrote before phones had to prove keys and first CAs had to be accepted:
// nothing is lost, set aside or to be accepted anew.
func TestStateOfBeforeIsRead(t *testing.T) {
	key, server, ca := newSigner(t).PublicKey(), sshctx.Fingerprint([]byte("server")), newSigner(t).PublicKey().Marshal()
	text64 := base64.StdEncoding.EncodeToString
	docs, trust := newMemory(), device.NewTrust(&testkit.Document{})
	phones := []device.Peer{{ID: device.ID{1}, Name: wire.Clean("phone")}, {ID: device.ID{2}, Name: wire.Clean("otherphone")}}
	var cached, cas []string
	for _, p := range phones { // which share a key
		if err := trust.Add(p); err != nil {
			t.Fatal(err)
		}
		cached = append(cached, fmt.Sprintf(`{"deviceID":%q,"keys":[{"fingerprint":%q,"algorithm":%q,"publicKeyBlob":%q,"comment":"mine","providerKind":"software","default":true}]}`,
			p.ID, sshctx.Fingerprint(key.Marshal()), key.Type(), text64(key.Marshal())))
		cas = append(cas, fmt.Sprintf(`{"deviceID":%q,"publicKey":%q}`, p.ID, text64(ca)))
	}
	docs.docs[keys.Document] = []byte(`{"version":1,"cachedKeys":[` + strings.Join(cached, ",") + `]}`)
	docs.docs["trusted-cas.json"] = []byte(`{"version":1,"cas":[` + strings.Join(cas, ",") + `],"distrustFirst":true}`)
	docs.docs[listing.Document] = fmt.Appendf(nil, `{"version":1,"destinations":[{"host":%q,"key":%q,"used":"2026-11-01T00:00:00Z"}]}`, server, sshctx.Fingerprint(key.Marshal()))
	w := newWorldIn(t, docs, trust)
	if got := w.Status().Warnings; len(got) != 0 {
		t.Errorf("warnings %q", got)
	}
	if got := w.comments(); len(got) != 1 || len(w.keys.All()[0].Phones) != 2 {
		t.Errorf("keys %q", got)
	}
	if err := w.memory.Save(); err != nil {
		t.Fatal(err)
	}
	if doc, _ := w.docs.Get(listing.Document); !strings.Contains(string(doc), server) || !strings.Contains(string(doc), sshctx.Fingerprint(key.Marshal())) {
		t.Errorf("the servers known are %s", doc)
	}
	for _, p := range phones {
		if err := w.cas.Check(p, ca); err != nil {
			t.Errorf("the CA of %s: %v", p.Name, err)
		}
	}
}
