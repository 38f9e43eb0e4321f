package test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// wiretap stands between two devices and keeps what passes.
type wiretap struct {
	l net.Listener

	mu    sync.Mutex
	to    string // where to pass it on
	bytes bytes.Buffer
}

func newWiretap(t testing.TB) *wiretap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{l: l}
	var group sync.WaitGroup
	t.Cleanup(func() { l.Close(); group.Wait() })
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() { w.pass(conn) })
		}
	})
	return w
}

func (w *wiretap) pass(a net.Conn) {
	defer a.Close()
	w.mu.Lock()
	to := w.to
	w.mu.Unlock()
	b, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer b.Close()
	var group sync.WaitGroup
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		group.Go(func() {
			// The end of either direction ends the connection.
			_, _ = io.Copy(io.MultiWriter(pair[0], w), pair[1])
			a.Close()
			b.Close()
		})
	}
	group.Wait()
}

func (w *wiretap) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes.Write(p)
}

func (w *wiretap) recorded() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.bytes.Bytes())
}

// spellings are how bytes could stand in a file or on the wire.
func spellings(b []byte) []string {
	return []string{string(b), hex.EncodeToString(b), base64.RawStdEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b)}
}

// moveRoutes makes the agent, which must not run, look for the phone elsewhere.
func (w *world) moveRoutes(to string) (from string) {
	w.Helper()
	route := regexp.MustCompile(`"tcp:[^"]+"`)
	for path, text := range w.computerFiles() {
		if found := route.FindString(text); found != "" && strings.Contains(text, `"peers"`) {
			from = strings.TrimSuffix(strings.TrimPrefix(found, `"tcp:`), `"`)
			if err := os.WriteFile(path, []byte(route.ReplaceAllString(text, `"tcp:`+to+`"`)), 0o600); err != nil {
				w.Fatal(err)
			}
		}
	}
	if from == "" {
		w.Fatal("the agent remembers no route to its phone")
	}
	return from
}

// computerFiles returns every file on the computer, with the agent's log.
func (w *world) computerFiles() map[string]string {
	w.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(w.computer.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return files
}

// After a whole run the computer holds nothing that signs for SSH, and who
// listens between the two learned no public key.
func TestNothingSecretOnTheComputerOrTheWire(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	file := w.phone.file("key", "")
	os.Remove(file)
	must(t, exec.CommandContext(deadline(t), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	w.phone.run("phone", "identity", "create", "--label", "known", "--import", file, "--passphrase-file", w.passphraseFile)
	w.phone.run("phone", "ca", "create", "--passphrase-file", w.passphraseFile)
	w.phone.run("phone", "ca", "policy", "--principals", "root")
	w.startPhone()
	w.startAgent("--lan=false")
	w.pair()
	w.agent.stop()

	tap := newWiretap(t)
	to := w.moveRoutes(tap.l.Addr().String())
	tap.mu.Lock()
	tap.to = to
	tap.mu.Unlock()
	w.startAgent("--lan=false")
	w.waitConnected()
	w.requestCertificate()
	sign := exec.CommandContext(deadline(t), "ssh-keygen", "-Y", "sign", "-n", "file", "-f", w.publicFile("known"), w.computer.file("message", "hello"))
	sign.Env = append(os.Environ(), "SSH_AUTH_SOCK="+w.computer.socket())
	must(t, sign)
	w.agent.stop()

	w.checkFiles(raw.(*ed25519.PrivateKey).Seed())
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.identity("known").PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	wire := tap.recorded()
	if len(wire) < 2000 {
		t.Fatalf("only %d bytes passed the tap: the link took another way", len(wire))
	}
	point := public.Marshal()[len(public.Marshal())-ed25519.PublicKeySize:]
	for _, s := range append(append(spellings(public.Marshal()), spellings(point)...), "ssh-ed25519", "dataToSign") {
		if bytes.Contains(wire, []byte(s)) {
			t.Errorf("the wire carries %q in clear", s)
		}
	}
}

func (w *world) checkFiles(seed []byte) {
	w.Helper()
	pemKeys := 0
	for path, text := range w.computerFiles() {
		for _, s := range append(spellings(seed), passphrase, "OPENSSH PRIVATE KEY", "EC PRIVATE KEY") {
			if strings.Contains(text, s) {
				w.Errorf("%s holds a secret of the phone, or a key", path)
			}
		}
		pemKeys += strings.Count(text, "BEGIN PRIVATE KEY") + strings.Count(text, `BEGIN PRIVATE KEY\n`)
	}
	if pemKeys != 1 {
		w.Errorf("%d private keys rest on the computer, want one: its TLS device key", pemKeys)
	}
}
