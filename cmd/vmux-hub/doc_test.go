package main

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"vmux/internal/testkit"
)

func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every vmux-hub command and flag in the docs is one that there is.
func TestDocsNameFlagsThatExist(t *testing.T) {
	var help testkit.Output
	if status := run(t.Context(), []string{"--help"}, strings.NewReader(""), &help); status != 0 {
		t.Fatalf("status %d: %s", status, &help)
	}
	found := 0
	for _, name := range []string{"hub.md", "running-a-hub.md"} {
		for line := range strings.Lines(page(t, name)) {
			if strings.Contains(line, "vmux agent") {
				continue // internal/cli's
			}
			for _, flag := range regexp.MustCompile(`--[a-z][-a-z]+`).FindAllString(line, -1) {
				if strings.HasPrefix(flag, "--hub") || strings.Contains(line, "tailscale serve") || strings.Contains(line, "`nats kv ") {
					continue
				}
				found++
				if !strings.Contains(help.String(), " "+flag+" ") {
					t.Errorf("%s names %s, which is no flag of vmux-hub", name, flag)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d flags in the docs", found)
	}
}

// The unit in the docs is the one of the package.
func TestDocsHaveTheUnit(t *testing.T) {
	unit, err := os.ReadFile("../../packaging/vmux-hub.service")
	if err != nil {
		t.Fatal(err)
	}
	if indented := regexp.MustCompile("(?m)^(.)").ReplaceAllString(string(unit), "    $1"); !strings.Contains(page(t, "running-a-hub.md"), indented) {
		t.Errorf("docs/running-a-hub.md has another unit than\n%s", indented)
	}
}

// block returns the indented lines of a page that begin with a line.
func block(t *testing.T, text, first string) string {
	t.Helper()
	_, after, ok := strings.Cut(text, "\n    "+first)
	if !ok {
		t.Fatalf("no %q in the docs", first)
	}
	lines := []string{first}
	for line := range strings.Lines(after) {
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "    ") && len(lines) > 1 {
			break
		}
		lines = append(lines, strings.TrimRight(line, "\n"))
	}
	return strings.Join(lines, "\n")
}

// waitFor waits for what nothing announces.
var waitFor = testkit.WaitFor

func certificate(t *testing.T, dir, name string) *x509.CertPool {
	t.Helper()
	public, secret := testkit.Certificate(t, nil, name)
	for file, b := range map[string][]byte{"cert.pem": public, "key.pem": secret} {
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(public)
	return pool
}
