package keys

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// TestMain makes the test program the writer that a test kills as well.
func TestMain(m *testing.M) {
	if dir := os.Getenv(cacheWriterEnv); dir != "" {
		writeCacheForEver(dir)
	}
	os.Exit(m.Run())
}

const cacheWriterEnv = "VMUX_TEST_CACHE_WRITER"

// writeCacheForEver is the process that TestKilledWhileWriting kills: it
// replaces the cache by ever other keys of the same phone.
func writeCacheForEver(folder string) {
	dir, err := state.OpenDir(folder)
	if err != nil {
		panic(err)
	}
	keys, err := parse(mustRead(filepath.Join(folder, Document)))
	if err != nil {
		panic(err)
	}
	list := keys[device.ID{1}]
	fmt.Println("writing")
	for i := 0; ; i++ {
		list[0].Comment = strings.Repeat("x", 1+i%200)
		b, err := encode(keys)
		if err != nil {
			panic(err)
		}
		if err := dir.Put(Document, b); err != nil {
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
	keys := map[device.ID][]Info{}
	for range 200 { // far more than one block of a disk
		public, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.NewPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		info, err := NewInfo(wire.RemoteSignerPublicKey{PublicKeyBlob: key.Marshal(), Comment: "key"})
		if err != nil {
			t.Fatal(err)
		}
		keys[device.ID{1}] = append(keys[device.ID{1}], info)
	}
	b, err := encode(keys)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Put(Document, b); err != nil {
		t.Fatal(err)
	}
	for range 25 {
		killWriter(t, folder)
		left, warning, err := load(dir, time.Now())
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
