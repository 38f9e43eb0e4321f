package signer

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/signer/certificates"
	"vmux/internal/wire"
)

// The list that the phone writes is read by OpenSSH, and revokes the revoked
// certificates alone.
func TestKRL(t *testing.T) {
	p := newPhone(t)
	p.createCA("root")
	p.create("work", "ssh-ed25519")
	dir := t.TempDir()
	var files []string
	for n := range 3 {
		cert := p.wantCertificate(certificateRequest(t, p))
		files = append(files, filepath.Join(dir, "cert-"+string(rune('a'+n))+".pub"))
		if err := os.WriteFile(files[n], ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := p.Certificates.All()
	if err != nil || len(list) != 3 || list[0].Label.String() != "work" || list[0].DeviceName.String() != "laptop" || list[0].Principals[0] != "root" {
		t.Fatalf("issued %+v, %v", list, err)
	}
	krl := filepath.Join(dir, "krl")
	// revoked returns which of the certificates ssh-keygen finds in the list.
	revoked := func() (found []int) {
		t.Helper()
		b, err := p.Certificates.KRL()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(krl, b, 0o600); err != nil {
			t.Fatal(err)
		}
		for n, file := range files {
			out, err := exec.Command("ssh-keygen", "-Q", "-f", krl, file).CombinedOutput()
			switch {
			case strings.Contains(string(out), "REVOKED"):
				found = append(found, n)
			case err != nil:
				t.Fatalf("ssh-keygen -Q: %v: %s", err, out)
			}
		}
		return found
	}
	if got := revoked(); len(got) != 0 {
		t.Errorf("revoked before anything was: %v", got)
	}
	if _, err := p.Certificates.Revoke(func(i certificates.Issued) bool { return i.Serial == list[1].Serial }); err != nil {
		t.Fatal(err)
	}
	if got := revoked(); !slices.Equal(got, []int{1}) {
		t.Errorf("revoked %v, want the second", got)
	}
	if got := p.Hello().RevokedSerials; !slices.Equal(got, []string{list[1].Serial}) {
		t.Errorf("hello tells of %v", got)
	}
	if _, err := p.Certificates.Revoke(func(certificates.Issued) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if got := revoked(); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("revoked %v, want all", got)
	}
	if _, err := p.Certificates.Revoke(func(certificates.Issued) bool { return true }); err != certificates.ErrNoCertificate {
		t.Errorf("revoked again: %v", err)
	}
	records, err := p.Activity.Records()
	if err != nil || records[len(records)-1].Decision != "revoked" {
		t.Errorf("the log does not tell: %v", err)
	}
}

// A list of another CA revokes nothing of this one, and an expired certificate
// is not told of.
func TestRevokedOfTwoCAs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPhone(t)
		p.createCA("root")
		p.create("work", "ssh-ed25519")
		first := p.wantCertificate(certificateRequest(t, p))
		if err := p.cfg.Store.Delete("ca.json"); err != nil {
			t.Fatal(err)
		}
		second := p.createCA("root")
		p.wantCertificate(certificateRequest(t, p))
		if _, err := p.Certificates.Revoke(func(i certificates.Issued) bool { return !bytes.Equal(i.CA, second.PublicKey) }); err != nil {
			t.Fatal(err)
		}
		krl, err := p.Certificates.KRL()
		if err != nil || !bytes.Contains(krl, first.SignatureKey.Marshal()) || bytes.Contains(krl, second.PublicKey) {
			t.Errorf("the list is not of the first CA alone: %v", err)
		}
		time.Sleep(8 * time.Hour)
		if got := p.Hello().RevokedSerials; len(got) != 0 {
			t.Errorf("tells of the expired %v", got)
		}
		time.Sleep(30*24*time.Hour + time.Hour)
		p.wantCertificate(certificateRequest(t, p))
		if list, err := p.Certificates.All(); err != nil || len(list) != 1 {
			t.Errorf("%d are remembered, %v", len(list), err)
		}
	})
}

// The list has an end: the oldest is forgotten for the newest.
func TestIssuedListIsFull(t *testing.T) {
	p := newPhone(t)
	p.createCA("root")
	p.create("work", "ssh-ed25519")
	p.wantCertificate(certificateRequest(t, p))
	line, err := p.cfg.Store.Get("certificates.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cfg.Store.Put("certificates.jsonl", bytes.Repeat(line, 4096)); err != nil {
		t.Fatal(err)
	}
	newest := p.wantCertificate(certificateRequest(t, p))
	list, err := p.Certificates.All()
	if err != nil || len(list) != 4096 || list[4096-1].Serial != strconv.FormatUint(newest.Serial, 10) {
		t.Errorf("%d are remembered, %v", len(list), err)
	}
}

// What cannot be read is not written over: revocations would be lost with it.
func TestDamagedIssuedList(t *testing.T) {
	p := newPhone(t)
	p.createCA("root")
	p.create("work", "ssh-ed25519")
	damaged := []byte(`{"serial":"1","validUn` + "\n")
	if err := p.cfg.Store.Put("certificates.jsonl", damaged); err != nil {
		t.Fatal(err)
	}
	if answer := p.askCertificate(certificateRequest(t, p)); answer.Error == nil || answer.Error.Code != wire.CodeInternalError {
		t.Errorf("a certificate was issued: %v", answer.Error)
	}
	if _, err := p.Certificates.Revoke(func(certificates.Issued) bool { return true }); err == nil {
		t.Error("revoked in a damaged list")
	}
	if b, err := p.cfg.Store.Get("certificates.jsonl"); err != nil || !bytes.Equal(b, damaged) {
		t.Errorf("the list is now %q, %v", b, err)
	}
}
