package browserphone

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"vmux/internal/browserphone/secondway"
	"vmux/internal/signer"
	"vmux/internal/signer/backup"
	"vmux/internal/signer/documents"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/transfer"
	"vmux/internal/testkit"
)

const backupPassphrase = "a backup's own passphrase"

// madeBackup is a backup of a page's phone.
func (p *page) madeBackup() transfer.Made {
	p.t.Helper()
	return p.must("makeBackup", map[string]any{"passphrase": backupPassphrase}).(transfer.Made)
}

func (p *page) open(file []byte) secondway.Found {
	p.t.Helper()
	found, err := p.tryOpen(file, backupPassphrase)
	if err != nil {
		p.t.Fatal(err)
	}
	return found.(secondway.Found)
}

func (p *page) tryOpen(file []byte, passphrase string) (any, error) {
	p.t.Helper()
	args, err := json.Marshal(map[string]any{"backup": file})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.Call(p.t.Context(), "openBackup", args, []byte(passphrase))
}

func labels(p *page) (list []string) {
	for _, i := range p.state().Identities {
		list = append(list, i.Label)
	}
	return list
}

// secondWays are the keys beside which computers are told of another way in.
func secondWays(p *page) (list []string) {
	p.t.Helper()
	r, err := p.signer.KeyList()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, k := range r.Keys {
		if k.SecondWay {
			list = append(list, k.Comment)
		}
	}
	return list
}

// Keys go from one browser's vault into another's, which is made for them, and sign there.
func TestBackupMovesToAnotherBrowser(t *testing.T) {
	old := newPage(t)
	old.must("createVault", map[string]any{"label": "work", "algorithm": "ssh-ed25519"})
	old.must("createPasskey", map[string]any{"label": "face"})
	old.must("createCA", map[string]any{"kind": "vault", "principals": []string{"root"}})
	if s := old.state().SecondWay; !s.Alone || s.At != 0 || !slices.Equal(s.Uncovered, []string{"work", "vmux CA"}) || !slices.Equal(s.Missing, []string{"face"}) {
		t.Errorf("before the backup: %+v", s)
	}
	before := old.taps
	made := old.madeBackup()
	if s := old.state().SecondWay; !s.Alone || s.At != 0 || len(secondWays(old)) > 0 {
		t.Errorf("a backup that was not saved counts: %+v, %v", s, secondWays(old))
	}
	old.must("backupSaved", map[string]any{})
	if got := secondWays(old); !slices.Equal(got, []string{"work"}) {
		t.Errorf("computers are told of a second way beside %v", got)
	}
	if old.taps != before+1 || !slices.Equal(made.Keys, []string{"work"}) || !made.CA || len(made.Missing) != 1 || made.Missing[0].Label != "face" {
		t.Errorf("%d taps made %+v", old.taps-before, made)
	}
	if s := old.state().SecondWay; s.Alone || s.At == 0 || len(s.Uncovered) > 0 {
		t.Errorf("after the backup: %+v", s)
	}

	fresh := newPage(t)
	if found := fresh.open(made.File); !found.NeedsKeys || len(labels(fresh)) > 0 {
		t.Errorf("looked at: %+v", found)
	}
	fresh.must("restoreBackup", map[string]any{})
	if got := labels(fresh); !slices.Equal(got, []string{"work"}) || fresh.state().CA == nil {
		t.Errorf("restored: %v, CA %+v", got, fresh.state().CA)
	}
	fresh.mustSign("work")
	fresh.wantFailure("notFound", "restoreBackup", map[string]any{})
	if found := fresh.open(made.File); found.NeedsKeys {
		t.Errorf("looked at again: %+v", found)
	}
	fresh.must("restoreBackup", map[string]any{})
	if got := labels(fresh); len(got) != 1 {
		t.Errorf("restored twice: %v", got)
	}
}

// Keys of both vaults go into one backup, each vault having been opened, and into the vault
// that a passphrase opens where passkeys open none.
func TestBackupOfBothVaults(t *testing.T) {
	old := newPage(t)
	old.must("createVault", map[string]any{"label": "work", "algorithm": "ssh-ed25519"})
	old.mustType("createVault", desktopKey("desktop"), typed)
	backedUp := func(passphrase string) (any, error) {
		plan, err := old.Prepare("makeBackup", nil, []byte(backupPassphrase))
		if err != nil {
			t.Fatal(err)
		}
		assertion, prf := old.get(plan.Get)
		b, err := json.Marshal(map[string]any{"assertion": assertion})
		if err != nil {
			t.Fatal(err)
		}
		return old.Call(t.Context(), "makeBackup", b, prf, []byte(passphrase), []byte(backupPassphrase))
	}
	if _, err := backedUp("not the vault's"); AsError(err).Code != "vaultPassphrase" {
		t.Errorf("with another passphrase: %v", err)
	}
	made, err := backedUp(typed)
	if err != nil {
		t.Fatal(err)
	}
	old.must("backupSaved", map[string]any{})
	if s := old.state().SecondWay; s.Alone || len(s.Uncovered) > 0 {
		t.Errorf("after the backup: %+v", s)
	}
	desktop := newPage(t)
	desktop.open(made.(transfer.Made).File)
	desktop.mustType("restoreBackup", map[string]any{"kind": "passphrase"}, typed)
	if got := labels(desktop); !slices.Equal(got, []string{"work", "desktop"}) || desktop.taps != 0 {
		t.Errorf("restored %v with %d taps", got, desktop.taps)
	}
	if s := desktop.state(); s.Passphrases != 2 || !s.SecondWay.Alone {
		t.Errorf("restored: %d keys, %+v", s.Passphrases, s.SecondWay)
	}
	if _, err := desktop.Call(t.Context(), "haveAnotherWay", nil); err != nil || desktop.state().SecondWay.Alone || len(secondWays(desktop)) != 2 {
		t.Errorf("another way: %v, told beside %v", err, secondWays(desktop))
	}
}

// The backup of a native phone goes into the vault that is there.
func TestBackupOfANativePhone(t *testing.T) {
	native, err := signer.New(signer.Config{Store: &testkit.Documents{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := native.Identities.Create("server", "ssh-ed25519", 0, []byte("its own")); err != nil {
		t.Fatal(err)
	}
	made, err := native.Backups.Make([][]byte{[]byte("its own")}, []byte(backupPassphrase))
	if err != nil {
		t.Fatal(err)
	}
	p := newPage(t)
	p.must("createVault", map[string]any{"label": "work", "algorithm": "ssh-ed25519"})
	p.open(made.File)
	p.must("restoreBackup", map[string]any{})
	p.mustSign("server")
	p.mustSign("work")
}

// A passkey that is not the vault's opens no backup's way out, and nobody's answer makes one.
func TestBackupNeedsTheVaultsPasskey(t *testing.T) {
	p := newPage(t)
	p.must("createVault", map[string]any{"label": "work", "algorithm": "ssh-ed25519"})
	if _, err := p.Call(t.Context(), "makeBackup", nil, nil, []byte(backupPassphrase)); AsError(err).Code != "badAnswer" {
		t.Errorf("without an answer: %v", err)
	}
	if _, err := p.Call(t.Context(), "makeBackup", nil, make([]byte, identity.SecretSize), []byte(backupPassphrase)); AsError(err).Code != "badAnswer" {
		t.Errorf("with a secret of its own: %v", err)
	}
	p.wantFailure("invalid", "makeBackup", map[string]any{"passphrase": "short"})
	log, err := p.Call(t.Context(), "exportActivity", nil, nil)
	if err != nil || strings.Contains(log.(string), "exported") {
		t.Errorf("the log: %v, %v", log, err)
	}
	p.madeBackup()
	if log, err = p.Call(t.Context(), "exportActivity", nil, nil); err != nil || !strings.Contains(log.(string), `"exported"`) {
		t.Errorf("the log: %v, %v", log, err)
	}
}

// What cannot be restored says why, and changes nothing.
func TestBackupsThatAreRefused(t *testing.T) {
	old := newPage(t)
	old.must("createVault", map[string]any{"label": "work", "algorithm": "ssh-ed25519"})
	file := old.madeBackup().File
	store := &testkit.Documents{}
	p := newPage(t, func(c *Config) { c.Store = store })
	before, _ := store.List("")
	for code, tried := range map[string]struct {
		file       []byte
		passphrase string
	}{
		"wrongPassphrase": {file, "another one"},
		"damaged":         {file[:len(file)/2], backupPassphrase},
		"notBackup":       {[]byte("-----BEGIN OPENSSH PRIVATE KEY-----"), backupPassphrase},
	} {
		if _, err := p.tryOpen(tried.file, tried.passphrase); err == nil || AsError(err).Code != code || AsError(err).Hint == "" {
			t.Errorf("%s: %v", code, err)
		}
	}
	if e := AsError(errors.Join(backup.ErrNewer)); e.Code != "newer" || e.Hint == "" {
		t.Errorf("a newer backup is %+v", e)
	}
	p.wantFailure("notFound", "restoreBackup", map[string]any{})
	if after, _ := store.List(""); !slices.Equal(before, after) {
		t.Errorf("%v became %v", before, after)
	}
}

// Wherever the disk fills up, nothing is restored, and nothing that was there is lost.
func TestStorageFillsUpDuringARestore(t *testing.T) {
	old := newPage(t)
	old.must("createVault", map[string]any{"label": "one", "algorithm": "ssh-ed25519"})
	old.must("createVault", map[string]any{"label": "two", "algorithm": "ssh-ed25519"})
	file := old.madeBackup().File
	for left := 0; ; left++ {
		store := &failing{Documents: &testkit.Documents{}, left: 100}
		p := newPage(t, func(c *Config) { c.Store = store })
		p.must("createVault", map[string]any{"label": "old", "algorithm": "ssh-ed25519"})
		p.open(file)
		before := vaultOf(t, store)
		store.left = left
		_, err := p.tap("restoreBackup", map[string]any{})
		if err == nil {
			break
		}
		store.left = 100
		if AsError(err).Code != "storage" || !slices.Equal(labels(p), []string{"old"}) {
			t.Errorf("with %d writes left: %v, %v", left, err, labels(p))
		}
		if after := vaultOf(t, store); !bytes.Equal(before, after) {
			t.Errorf("with %d writes left: %s became %s", left, before, after)
		}
		p.must("restoreBackup", map[string]any{})
		p.mustSign("old")
		p.mustSign("two")
	}
}

func vaultOf(t *testing.T, store documents.Store) []byte {
	t.Helper()
	names, err := store.List("vault")
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.Join(names, " "))
}
