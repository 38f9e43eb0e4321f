package front

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is in the files decides, and not their time: cp -p, rsync and volumes of containers
// keep it (cert-manager/csi-driver#264), as does who lets the hub read a key at last. What
// cannot be used is said once.
func TestCertificateFilesOfTheSameTime(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	at := time.Now().Add(-time.Hour)
	put := func(path string, text []byte) {
		t.Helper()
		if err := os.WriteFile(path, fmt.Appendf(nil, "%-2000s", text), 0o600); err != nil { // blanks are no part of PEM
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	made := func(serial int64) {
		t.Helper()
		writeCertificate(t, cert, key, serial, "hub.example")
		for _, path := range []string{cert, key} {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			put(path, text)
		}
	}
	made(1)
	log, logged := logger(t)
	f := serve(t, Config{Listen: "127.0.0.1:0", CertFile: cert, KeyFile: key, Now: clock.Now, Log: log})
	put(key, []byte("nonsense"))
	for range 3 {
		clock.pass(checkEvery)
		if n := serial(t, f); n != 1 {
			t.Errorf("without a key: certificate %d", n)
		}
	}
	if n := strings.Count(logged(), "cannot be used"); n != 1 {
		t.Errorf("said %d times: %s", n, logged())
	}
	made(2)
	clock.pass(checkEvery)
	if n := serial(t, f); n != 2 {
		t.Errorf("replaced: certificate %d", n)
	}
}
