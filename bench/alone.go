package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshagent"
)

// alone is vmux's socket server over one certificate in memory, without an
// agent or phone behind it. It tells what the socket itself costs, and is
// what one profiles.
type alone struct {
	key     ssh.Signer
	blob    []byte
	listing *sshagent.Listing
}

func newAlone() (*alone, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	certificate := &ssh.Certificate{
		Key: key.PublicKey(), CertType: ssh.UserCert, KeyId: "bench",
		ValidPrincipals: []string{"bench"}, ValidBefore: ssh.CertTimeInfinity,
	}
	if err := certificate.SignCert(rand.Reader, key); err != nil {
		return nil, err
	}
	blob := certificate.Marshal()
	listing := sshagent.NewListing([]sshagent.Identity{{Blob: blob, Comment: "bench"}})
	return &alone{key, blob, listing}, nil
}

// Listing, SignLocal, Sign, RemoveAll and Remove make alone a sshagent.Backend.

func (a *alone) Listing(context.Context, sshagent.Connection) *sshagent.Listing { return a.listing }

func (a *alone) SignLocal(_ sshagent.Connection, blob, data []byte, _ uint32) ([]byte, bool, error) {
	if !bytes.Equal(blob, a.blob) {
		return nil, false, nil
	}
	s, err := a.key.Sign(rand.Reader, data)
	if err != nil {
		return nil, true, err
	}
	return ssh.Marshal(s), true, nil
}

func (a *alone) Sign(context.Context, sshagent.SignRequest) ([]byte, error) {
	return nil, errors.New("there is no phone")
}

func (a *alone) RemoveAll()         {}
func (a *alone) Remove([]byte) bool { return false }

// serveAlone serves until it is killed.
func serveAlone(socket string) error {
	backend, err := newAlone()
	if err != nil {
		return err
	}
	l, err := sshagent.Listen(socket)
	if err != nil {
		return err
	}
	return sshagent.New(sshagent.Config{Backend: backend}).Serve(context.Background(), l)
}

func (b *bench) startAlone() variant {
	socket := filepath.Join(b.TempDir(), "s")
	return b.startOwn("socket alone", socket, ownCommand("socket-alone", socket))
}

// ownCommand is this program in another role.
func ownCommand(role, socket string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return exec.Command(self, role, socket)
}
