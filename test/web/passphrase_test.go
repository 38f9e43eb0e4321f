package web

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"vmux/internal/sshdtest"
)

const phrase = "correct horse battery"

// typed calls a function of core.js with passphrases.
func (p *Page) typed(name string, args map[string]any, passphrases ...string) error {
	p.T.Helper()
	b, err := json.Marshal(append([]any{name, args}, anys(passphrases)...))
	if err != nil {
		return err
	}
	return p.Run(fmt.Sprintf("return core.call(...%s)", b), nil)
}

func anys(list []string) (all []any) {
	for _, s := range list {
		all = append(all, s)
	}
	return all
}

func (p *Page) mustType(name string, args map[string]any, passphrases ...string) {
	p.T.Helper()
	if err := p.typed(name, args, passphrases...); err != nil {
		p.T.Fatalf("%s: %v\n%s", name, err, p.Console())
	}
}

// approveTyped approves the next request with a passphrase, and returns how long that took.
func (p *Page) approveTyped(passphrase string) (time.Duration, error) {
	p.T.Helper()
	b, err := json.Marshal(p.Sheet())
	if err != nil {
		return 0, err
	}
	began := time.Now()
	err = p.Run(fmt.Sprintf("return core.approve(%s, {}, %q)", b, passphrase), nil)
	return time.Since(began), err
}

// A browser without any authenticator makes a key, has a CA, and logs in, from every
// client to every server. A keyboard may compose the letters of a passphrase in either
// way; the wrong one signs nothing, and neither it nor a key rests in clear.
func TestLoginByPassphrase(t *testing.T) {
	w := newWorld(t)
	w.authenticator.Remove()
	w.page.Reload()
	const composed, decomposed = "sch\u00f6ne gr\u00fc\u00dfe", "scho\u0308ne gru\u0308\u00dfe"
	var s State
	w.page.State(&s)
	if !s.Support.Passphrase || s.Support.PlatformAuthenticator {
		t.Errorf("support is %+v", s.Support)
	}
	w.page.mustType("createVault", map[string]any{"label": "desktop", "kind": "passphrase", "algorithm": "ssh-ed25519"}, composed)
	w.page.mustType("createVault", map[string]any{"label": "rsa", "kind": "passphrase", "algorithm": "ssh-rsa"}, decomposed)
	w.listed(t)
	servers := sshdtest.Both(t)
	for i, client := range servers {
		line := w.page.Identity("desktop").AuthorizedKey
		server := servers[1-i].StartServer(t, sshdtest.Config{AuthorizedKeys: []string{line}, MaxAuthTries: 20})
		out, err := finish(server.Command(deadline(t), t, client, w.agent.Socket, "echo", "in"), func() {
			if _, err := w.page.approveTyped("schone grusse"); err == nil || !strings.Contains(err.Error(), "vaultPassphrase") {
				t.Errorf("a wrong passphrase: %v", err)
			}
			took, err := w.page.approveTyped(decomposed)
			if err != nil {
				t.Errorf("approve: %v\n%s", err, w.page.Console())
			}
			t.Logf("opening the vault and signing took %v", took)
		})
		if err != nil || out != "in\n" {
			t.Errorf("from %s: %v\n%s\n%s", client.Version, err, out, server.Log())
		}
	}
	var stored []string
	if err := w.page.Run(storedDocuments, &stored); err != nil || len(stored) < 5 {
		t.Fatalf("%v: %q", err, stored)
	}
	for _, text := range stored {
		if strings.Contains(text, "PRIVATE KEY") || strings.Contains(text, "gr\u00fc") || strings.Contains(text, "gru\u0308") {
			t.Errorf("in clear: %q", text)
		}
		if strings.Contains(text, "argon2id") {
			t.Log(text)
		}
	}
}

// The page's memory does not grow with each passphrase that is tried: a browser never takes
// it back from WebAssembly, and phones end a page that has too much.
func TestPassphraseMemory(t *testing.T) {
	page := NewBrowser(t).Tab()
	page.BeforeLoad(`{
		const own = WebAssembly.instantiateStreaming;
		WebAssembly.instantiateStreaming = async (...args) => {
			const made = await own(...args);
			globalThis.wasmMemory = made.instance.exports.mem;
			return made;
		};
	}`)
	page.Go(StartHub(t).URL + "/")
	page.mustType("createVault", map[string]any{"label": "desktop", "kind": "passphrase", "algorithm": "ssh-ed25519"}, phrase)
	for range 6 {
		if err := page.typed("createVault", map[string]any{"label": "more", "kind": "passphrase", "algorithm": "ssh-ed25519"}, "not the passphrase"); err == nil {
			t.Error("a wrong passphrase opens")
		}
	}
	var megabytes float64
	if err := page.Run("return globalThis.wasmMemory.buffer.byteLength / (1 << 20)", &megabytes); err != nil || megabytes > 200 {
		t.Errorf("%v MiB after eight passphrases, %v", megabytes, err)
	}
	t.Logf("%v MiB", megabytes)
}
