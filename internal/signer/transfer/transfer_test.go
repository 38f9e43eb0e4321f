package transfer_test

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/device"
	"vmux/internal/signer"
	"vmux/internal/signer/activity"
	"vmux/internal/signer/backup"
	"vmux/internal/signer/certificates"
	"vmux/internal/signer/hosts"
	"vmux/internal/signer/identity"
	"vmux/internal/signer/policy"
	"vmux/internal/signer/transfer"
	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

var (
	secret           = []byte("a passphrase")
	backupPassphrase = []byte("a backup's own passphrase")
)

// filed is a phone whose keys are in key files.
type filed struct {
	*signer.Signer
	t     *testing.T
	store *brittle
}

// brittle is a store that fails at its nth writing from now, for once or for good.
type brittle struct {
	*testkit.Documents
	failAt int // 0: never
}

var errFull = errors.New("the disk is full")

func (b *brittle) Put(name string, doc []byte) error {
	if b.failAt--; b.failAt == 0 {
		return errFull
	}
	return b.Documents.Put(name, doc)
}

func newFiled(t *testing.T, labels ...string) *filed {
	t.Helper()
	store := &brittle{Documents: &testkit.Documents{}}
	s, err := signer.New(signer.Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	f := &filed{s, t, store}
	for _, label := range labels {
		if _, err := s.Identities.Create(label, "ssh-ed25519", 0, secret); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// add keeps a key in a key file.
func (f *filed) add(label string, key crypto.PrivateKey) (identity.Identity, error) {
	return identity.Files{Store: f.store}.Add(label, key, secret)
}

func (f *filed) backup() *backup.Document {
	f.t.Helper()
	made, err := f.Backups.Make([][]byte{secret}, backupPassphrase)
	if err != nil {
		f.t.Fatal(err)
	}
	doc, err := backup.Open(made.File, backupPassphrase)
	if err != nil {
		f.t.Fatal(err)
	}
	return doc
}

func (f *filed) restore(doc *backup.Document) []transfer.Outcome {
	f.t.Helper()
	outcomes, err := f.Backups.Restore(doc, f.add)
	if err != nil {
		f.t.Fatal(err)
	}
	return outcomes
}

// everything is all that the store holds but for the log.
func (f *filed) everything() string {
	f.t.Helper()
	names, err := f.store.List("")
	if err != nil {
		f.t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range names {
		doc, err := f.store.Get(name)
		if err != nil {
			f.t.Fatal(err)
		}
		if !strings.HasPrefix(name, "activity") {
			fmt.Fprintf(&b, "%s %x\n", name, doc)
		}
	}
	return b.String()
}

func (f *filed) label(label string) identity.Identity {
	f.t.Helper()
	id, err := f.Identities.Find(label)
	if err != nil {
		f.t.Fatalf("%s: %v", label, err)
	}
	return id
}

// server has the phone remember a server by a name.
func (f *filed) server(hostKey []byte, name string) {
	f.t.Helper()
	err := f.Hosts.Remember(hosts.Destination{HostKey: hostKey}, sshctx.Context{User: "root", Kind: sshctx.HostBound}, wire.Clean(name))
	if err != nil {
		f.t.Fatal(err)
	}
}

func states(outcomes []transfer.Outcome) string {
	var list []string
	for _, o := range outcomes {
		list = append(list, o.Name+" "+o.State)
	}
	return strings.Join(list, ", ")
}

func TestBackupIsRestoredOnAnEmptyPhone(t *testing.T) {
	old := newFiled(t, "work", "git")
	work := old.label("work")
	if err := old.Identities.SetDefault(old.label("git")); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Identities.SetRules(work, func(r *policy.Rules) { r.Users = []string{"deploy"} }); err != nil {
		t.Fatal(err)
	}
	if err := old.Identities.SetEnabled(work, false); err != nil {
		t.Fatal(err)
	}
	ca, err := old.CA.Create([]string{"root"}, secret)
	if err != nil {
		t.Fatal(err)
	}
	old.server(work.PublicKey, "web-1.example.org")
	upstream := identity.Identity{Label: "token", Algorithm: "ssh-ed25519", PublicKey: newFiled(t, "x").label("x").PublicKey, Enabled: true, Provider: identity.ProviderUpstream, Ref: "/agent"}
	if err := old.Identities.Add(upstream); err != nil {
		t.Fatal(err)
	}
	fresh := newFiled(t)
	doc := old.backup()
	before := fresh.everything()
	looked, err := fresh.Backups.Restore(doc, nil)
	if err != nil || fresh.everything() != before {
		t.Fatalf("to look at a backup has changed the phone, or failed: %v", err)
	}
	outcomes := fresh.restore(doc)
	if got := states(outcomes); got != "work restored, git restored, vmux-ca restored, servers restored, token missing" || !slices.Equal(looked, outcomes) {
		t.Errorf("restored %s; looked %s", got, states(looked))
	}
	if got := outcomes[0].Text + "; " + outcomes[1].Text; got != "is restored, switched off as it was; is restored" {
		t.Errorf("it says %q", got)
	}
	got := fresh.label("work")
	if !bytes.Equal(got.PublicKey, work.PublicKey) || got.Enabled || got.Default || got.Rules.Users[0] != "deploy" || !got.CreatedAt.Equal(work.CreatedAt) {
		t.Errorf("work has become %+v", got)
	}
	if !fresh.label("git").Default {
		t.Error("another key is the default")
	}
	if again, err := fresh.CA.Get(); err != nil || !bytes.Equal(again.PublicKey, ca.PublicKey) || again.Policy.Principals[0] != "root" {
		t.Errorf("the CA is %+v, %v", again, err)
	}
	if err := fresh.Backups.Unlocked([][]byte{secret}); err != nil {
		t.Errorf("the restored keys do not open: %v", err)
	}
	if list, err := fresh.Hosts.All(); err != nil || len(list) != 1 || list[0].Names[0].String() != "web-1.example.org" {
		t.Errorf("servers: %+v, %v", list, err)
	}
	before = fresh.everything()
	if got := states(fresh.restore(doc)); got != "work kept, git kept, vmux-ca kept, servers restored, token missing" || fresh.everything() != before {
		t.Errorf("restored again: %s", got)
	}
}

// What leaves the phone, and what comes, the log knows.
func TestBackupsAreRecorded(t *testing.T) {
	old, fresh := newFiled(t, "work"), newFiled(t)
	if _, err := old.CA.Create([]string{"root"}, secret); err != nil {
		t.Fatal(err)
	}
	fresh.restore(old.backup())
	told := func(f *filed) string {
		records, err := f.Activity.Records()
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, r := range records {
			fmt.Fprintf(&b, "%s %s %s %s\n", r.Kind, r.Decision, r.Label, r.What)
		}
		return b.String()
	}
	for _, want := range []string{"key exported work in an encrypted backup\n", "ca exported vmux-ca in an encrypted backup\n"} {
		if !strings.Contains(told(old), want) {
			t.Errorf("the log lacks %q:\n%s", want, told(old))
		}
	}
	for _, want := range []string{"key imported work ssh-ed25519, file, from a backup of 20", "ca imported vmux-ca ecdsa-sha2-nistp256, file, from a backup of 20"} {
		if !strings.Contains(told(fresh), want) {
			t.Errorf("the log lacks %q:\n%s", want, told(fresh))
		}
	}
}

func TestKeysLeaveOnlyWithTheirPassphrase(t *testing.T) {
	f := newFiled(t, "work")
	for _, secrets := range [][][]byte{nil, {nil}, {[]byte("wrong")}} {
		made, err := f.Backups.Make(secrets, backupPassphrase)
		locked, ok := errors.AsType[*transfer.LockedError](err)
		if !ok || locked.Label != "work" || made.File != nil {
			t.Errorf("%q: %v", secrets, err)
		}
	}
	if _, err := f.Backups.Make([][]byte{secret}, []byte("short")); err == nil {
		t.Error("a backup under a short passphrase")
	}
	if records, err := f.Activity.Records(); err != nil || len(records) != 1 {
		t.Errorf("the log knows of a key that did not leave: %+v, %v", records, err)
	}
	if _, err := f.Backups.Make([][]byte{[]byte("wrong"), secret}, backupPassphrase); err != nil {
		t.Error(err)
	}
}

// What is on the phone stays, whatever the backup says, and each difference is named.
func TestRestoreOverwritesNothing(t *testing.T) {
	old := newFiled(t, "work", "same")
	if _, err := old.CA.Create([]string{"root"}, secret); err != nil {
		t.Fatal(err)
	}
	here := newFiled(t, "work")
	if _, err := here.CA.Create([]string{"deploy"}, secret); err != nil {
		t.Fatal(err)
	}
	doc := old.backup()
	shared := *doc
	shared.Keys, shared.CA = doc.Keys[1:], nil
	here.restore(&shared)
	if _, err := here.Identities.SetRules(here.label("same"), func(r *policy.Rules) { r.Users = []string{"deploy"} }); err != nil {
		t.Fatal(err)
	}
	if err := here.Identities.Rename(here.label("same"), "mine"); err != nil {
		t.Fatal(err)
	}
	pool, other, third := old.label("work").PublicKey, here.label("work").PublicKey, here.label("mine").PublicKey
	old.server(pool, "web-1.example.org")
	old.server(third, "git.example.org")
	here.server(other, "web-1.example.org")
	ca, err := here.CA.Get()
	if err != nil {
		t.Fatal(err)
	}
	outcomes := here.restore(old.backup())
	if got := states(outcomes); got != "work restored, same kept, vmux-ca differs, servers restored, servers differs" {
		t.Errorf("outcomes: %s", got)
	}
	for _, want := range []string{"restored as work 2", "as mine, and stays as it is; what it may do is different", "another CA", "web-1.example.org"} {
		if !slices.ContainsFunc(outcomes, func(o transfer.Outcome) bool { return strings.Contains(o.Text, want) }) {
			t.Errorf("nothing says %q: %+v", want, outcomes)
		}
	}
	if !bytes.Equal(here.label("work").PublicKey, other) || !bytes.Equal(here.label("work 2").PublicKey, pool) || here.label("mine").Rules.IsZero() {
		t.Error("a key that was here has changed")
	}
	if again, err := here.CA.Get(); err != nil || !bytes.Equal(again.PublicKey, ca.PublicKey) || again.Policy.Principals[0] != "deploy" {
		t.Errorf("the CA is another one: %v", err)
	}
	// A changed host key still is one after the restore.
	d := hosts.Destination{HostKey: pool}
	here.Hosts.Recall(&d, sshctx.Context{User: "root"}, wire.Clean("web-1.example.org"))
	if d.Memory != hosts.Changed {
		t.Errorf("another host key of web-1 is %s", d.Memory)
	}
}

// Wherever the disk fills up, nothing is changed, and all can be restored later.
func TestRestoreIsAllOrNothing(t *testing.T) {
	old := newFiled(t, "work", "git")
	if _, err := old.CA.Create([]string{"root"}, secret); err != nil {
		t.Fatal(err)
	}
	old.server(old.label("git").PublicKey, "web-1.example.org")
	old.issue(7, time.Hour)
	old.revoke("7")
	doc := old.backup()
	failed := 0
	for n := 1; ; n++ {
		f := newFiled(t, "here")
		f.issueBy(doc.CA.PublicKey, 7, time.Hour)
		before := f.everything()
		f.store.failAt = n
		_, err := f.Backups.Restore(doc, f.add)
		if err == nil {
			break
		}
		failed++
		if !errors.Is(err, errFull) || f.everything() != before {
			t.Errorf("writing %d failed: %v\n%s\nbecame\n%s", n, err, before, f.everything())
		}
		if n == 1 {
			if got := states(f.restore(doc)); !strings.HasPrefix(got, "work restored, git restored, vmux-ca restored") {
				t.Errorf("later: %s", got)
			}
		}
	}
	if failed < 7 { // two keys, the CA's, identities.json, ca.json, certificates.jsonl, hosts.json
		t.Errorf("only %d writings could fail", failed)
	}
}

// A backup that opens can still be wrong in itself.
func TestWrongBackups(t *testing.T) {
	old := newFiled(t, "work", "git")
	if _, err := old.CA.Create([]string{"root"}, secret); err != nil {
		t.Fatal(err)
	}
	whole := old.backup()
	none := newFiled(t, "x")
	if err := none.Identities.Delete(none.label("x")); err != nil {
		t.Fatal(err)
	}
	nobody := none.everything() // a list of no keys
	for name, change := range map[string]func(*backup.Document){
		"another key's private half": func(d *backup.Document) { d.Keys[0].PrivateKey = d.Keys[1].PrivateKey },
		"a label that moves text":    func(d *backup.Document) { d.Keys[0].Label = "a\x1b[2Jb" },
		"rules that cannot be":       func(d *backup.Document) { d.Keys[0].Rules.Hours = "never" },
		"no public key":              func(d *backup.Document) { d.Keys[1].PublicKey = "work" },
		"a CA that issues for ever":  func(d *backup.Document) { d.CA.Policy.MaxValiditySeconds = 1 << 40 },
		"a CA that is an identity":   func(d *backup.Document) { d.Keys[1].PublicKey, d.Keys[1].PrivateKey = d.CA.PublicKey, d.CA.PrivateKey },
		"a certificate of no number": func(d *backup.Document) { d.Certificates = []certificates.Issued{{Serial: "x", CA: []byte("ca")}} },
		"a server without a key":     func(d *backup.Document) { d.Servers = []hosts.Host{{}} },
	} {
		doc, ca := *whole, *whole.CA
		doc.Keys, doc.CA = slices.Clone(whole.Keys), &ca
		fresh := newFiled(t)
		change(&doc)
		if _, err := fresh.Backups.Restore(&doc, fresh.add); err == nil || fresh.everything() != "" && fresh.everything() != nobody {
			t.Errorf("%s: %v, and there is\n%s", name, err, fresh.everything())
		}
	}
}

// issue notes a certificate of the phone's own CA.
func (f *filed) issue(serial uint64, validity time.Duration) {
	f.t.Helper()
	ca, err := f.CA.Get()
	if err != nil {
		f.t.Fatal(err)
	}
	f.issueBy(ca.AuthorizedKey(), serial, validity)
}

func (f *filed) issueBy(ca string, serial uint64, validity time.Duration) {
	f.t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(ca))
	if err != nil {
		f.t.Fatal(err)
	}
	cert := &ssh.Certificate{Serial: serial, SignatureKey: key, ValidPrincipals: []string{"root"}, ValidBefore: uint64(time.Now().Add(validity).Unix())}
	if err := f.Certificates.Note(cert, device.Peer{ID: device.ID{1}, Name: wire.Clean("laptop")}, wire.Clean("work"), "SHA256:x"); err != nil {
		f.t.Fatal(err)
	}
}

func (f *filed) revoke(serial string) {
	f.t.Helper()
	if _, err := f.Certificates.Revoke(func(i certificates.Issued) bool { return i.Serial == serial }); err != nil {
		f.t.Fatal(err)
	}
}

// What was revoked stays revoked: on the phone that is restored, which tells computers and
// servers of it and can revoke the others, and on one with an older backup.
func TestRevokedCertificatesStayRevoked(t *testing.T) {
	old := newFiled(t, "work")
	if _, err := old.CA.Create([]string{"root"}, secret); err != nil {
		t.Fatal(err)
	}
	old.issue(7, time.Hour)
	old.issue(8, time.Hour)
	old.issue(9, -time.Hour)
	older := old.backup()
	old.revoke("7")
	newer := old.backup()
	fresh := newFiled(t)
	outcomes := fresh.restore(newer)
	if got := states(outcomes); got != "work restored, vmux-ca restored, certificates restored" || !strings.HasPrefix(outcomes[2].Text, "2 that have not expired") || !strings.HasSuffix(outcomes[2].Text, "; 1 are revoked") {
		t.Errorf("restored %s: %+v", got, outcomes[2])
	}
	if got := fresh.Hello().RevokedSerials; !slices.Equal(got, []string{"7"}) {
		t.Errorf("computers are told of %v", got)
	}
	krl, err := fresh.Certificates.KRL()
	if want, _ := old.Certificates.KRL(); err != nil || len(krl) != len(want) {
		t.Errorf("servers are told %x, want the like of %x: %v", krl, want, err)
	}
	if records, err := fresh.Activity.Records(); err != nil || !slices.ContainsFunc(records, func(r activity.Record) bool {
		return r.Decision == "revoked" && r.Serial == "7" && strings.HasPrefix(r.What.String(), "from a backup of 20")
	}) {
		t.Errorf("the log does not tell of the revocation: %+v, %v", records, err)
	}
	fresh.revoke("8")
	for name, doc := range map[string]*backup.Document{"older": older, "newer": newer} {
		if got := states(fresh.restore(doc)); got != "work kept, vmux-ca kept" || len(fresh.Hello().RevokedSerials) != 2 {
			t.Errorf("after the %s backup: %s, revoked %v", name, got, fresh.Hello().RevokedSerials)
		}
	}
	if got := states(old.restore(fresh.backup())); got != "work kept, vmux-ca kept, certificates restored" || len(old.Hello().RevokedSerials) != 2 {
		t.Errorf("the first phone, told of the second one's revocation: %s, %v", got, old.Hello().RevokedSerials)
	}
}

// There is room for the number behind a name that is taken.
func TestLongNamesThatAreTaken(t *testing.T) {
	for _, long := range []string{strings.Repeat("x", wire.MaxNameSize), strings.Repeat("\u00e4", wire.MaxNameSize/2)} {
		outcomes := newFiled(t, long).restore(newFiled(t, long).backup())
		if states(outcomes) != long+" restored" {
			t.Errorf("%s", states(outcomes))
		}
	}
}
