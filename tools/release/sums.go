package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// sums writes SHA256SUMS, as `sha256sum -c` reads it, and signs it if there is a key.
func (o options) sums() error {
	entries, err := os.ReadDir(o.to) // sorted
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, e := range entries {
		sum, err := sumOf(o.path(e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&list, "%s  %s\n", sum, e.Name())
	}
	if err := os.WriteFile(o.path("SHA256SUMS"), []byte(list.String()), 0o644); err != nil {
		return err
	}
	if o.key == "" {
		fmt.Fprintln(os.Stderr, "release: SHA256SUMS is not signed: no key was named")
		return nil
	}
	if err := run(os.Environ(), "ssh-keygen", "-Y", "sign", "-n", "file", "-f", o.key, o.path("SHA256SUMS")); err != nil {
		return fmt.Errorf("ssh-keygen -Y sign: %w", err)
	}
	return nil
}

func sumOf(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
