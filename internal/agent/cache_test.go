package agent

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/device"
	"vmux/internal/sshctx"
	"vmux/internal/state"
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
			if err := docs.Put(documentCache, []byte(damaged)); err != nil {
				t.Fatal(err)
			}
			w := newWorldIn(t, docs, device.NewTrust(&device.MemoryStore{}))
			if s := w.Status(); len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], documentCache+".damaged-") {
				t.Errorf("warnings %q", s.Warnings)
			}
			names, err := docs.List(documentCache)
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
	docs, trust := newMemory(), device.NewTrust(&device.MemoryStore{})
	phones := []device.Peer{{ID: device.ID{1}, Name: "phone"}, {ID: device.ID{2}, Name: "otherphone"}}
	var cached, cas []string
	for _, p := range phones { // which share a key
		if err := trust.Add(p); err != nil {
			t.Fatal(err)
		}
		cached = append(cached, fmt.Sprintf(`{"deviceID":%q,"keys":[{"fingerprint":%q,"algorithm":%q,"publicKeyBlob":%q,"comment":"mine","providerKind":"software","default":true}]}`,
			p.ID, sshctx.Fingerprint(key.Marshal()), key.Type(), text64(key.Marshal())))
		cas = append(cas, fmt.Sprintf(`{"deviceID":%q,"publicKey":%q}`, p.ID, text64(ca)))
	}
	docs.docs[documentCache] = []byte(`{"version":1,"cachedKeys":[` + strings.Join(cached, ",") + `]}`)
	docs.docs["trusted-cas.json"] = []byte(`{"version":1,"cas":[` + strings.Join(cas, ",") + `],"distrustFirst":true}`)
	docs.docs[documentDestinations] = fmt.Appendf(nil, `{"version":1,"destinations":[{"host":%q,"key":%q,"used":"2026-11-01T00:00:00Z"}]}`, server, sshctx.Fingerprint(key.Marshal()))
	w := newWorldIn(t, docs, trust)
	if got := w.Status().Warnings; len(got) != 0 {
		t.Errorf("warnings %q", got)
	}
	if got := w.comments(); len(got) != 1 || len(w.snapshot.Load().identities[0].holders) != 2 {
		t.Errorf("keys %q", got)
	}
	if known := w.known.byHost[server]; known.Key != sshctx.Fingerprint(key.Marshal()) {
		t.Errorf("the server is known as %+v", known)
	}
	for _, p := range phones {
		if err := w.cas.Meet(p, ca); err != nil {
			t.Errorf("the CA of %s: %v", p.Name, err)
		}
	}
}

const cacheWriterEnv = "VMUX_TEST_CACHE_WRITER"

// writeCacheForEver is the process that TestKilledWhileWriting kills: it
// replaces the cache by ever other keys of the same phone.
func writeCacheForEver(folder string) {
	dir, err := state.OpenDir(folder)
	if err != nil {
		panic(err)
	}
	keys, err := parseCache(mustRead(filepath.Join(folder, documentCache)))
	if err != nil {
		panic(err)
	}
	list := keys[device.ID{1}]
	fmt.Println("writing")
	for i := 0; ; i++ {
		list[0].Comment = strings.Repeat("x", 1+i%200)
		b, err := encodeCache(keys)
		if err != nil {
			panic(err)
		}
		if err := dir.Put(documentCache, b); err != nil {
			panic(err)
		}
	}
}

func mustRead(path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return b
}

// SIGKILL at any moment of a cache write loses nothing: whatever stands there
// afterwards is a whole cache with all keys.
func TestKilledWhileWriting(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "agent")
	dir, err := state.OpenDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[device.ID][]AgentKeyInfo{}
	for range 200 { // far more than one block of a disk
		info, err := keyInfo(remoteKey(newSigner(t), "key"))
		if err != nil {
			t.Fatal(err)
		}
		keys[device.ID{1}] = append(keys[device.ID{1}], info)
	}
	b, err := encodeCache(keys)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Put(documentCache, b); err != nil {
		t.Fatal(err)
	}
	for range 25 {
		killWriter(t, folder)
		left, warning, err := loadCache(dir, time.Now())
		if err != nil || warning != "" || len(left[device.ID{1}]) != 200 {
			t.Fatalf("after SIGKILL: %d keys, %q, %v", len(left[device.ID{1}]), warning, err)
		}
	}
}

func killWriter(t *testing.T, folder string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), cacheWriterEnv+"="+folder)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Errorf("writer: %v", err)
	}
	<-time.After(rand.N(10 * time.Millisecond))
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the writer ended by itself")
	}
}
