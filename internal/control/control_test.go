package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmux/internal/hubpage"
	"vmux/internal/wire"
)

// refusing is a Service that refuses, so that what a client sees is what the
// handlers make of errors.
type refusing struct{ err error }

func (refusing) Status() Status               { return Status{ConnectionLine: LineNotConnected} }
func (refusing) Changed() <-chan struct{}     { return nil }
func (refusing) Notifies() func()             { return func() {} }
func (refusing) ShowCertificate() Certificate { return Certificate{State: CertificateNone} }
func (r refusing) Withdraw(string) error      { return r.err }
func (r refusing) Pair(context.Context, PairOptions, func(Invitation) error) (Device, error) {
	return Device{}, r.err
}
func (r refusing) RefreshKeys(context.Context) (RefreshResult, error) { return RefreshResult{}, r.err }
func (r refusing) RequestCertificate(context.Context, CertificateOptions) (Certificate, error) {
	return Certificate{}, r.err
}
func (r refusing) Devices() ([]Device, error)             { return nil, r.err }
func (r refusing) Ping(context.Context) ([]Device, error) { return nil, r.err }
func (r refusing) Unpair(string) (Device, error)          { return Device{}, r.err }
func (r refusing) Wake(context.Context, string) ([]Woken, error) {
	return nil, r.err
}
func (r refusing) CA() ([]CA, error)                   { return nil, r.err }
func (r refusing) AcceptCA(string, string) (CA, error) { return CA{}, r.err }
func (r refusing) ClaimGit(GitClaim) error             { return r.err }
func (r refusing) VerifyHub(context.Context) (hubpage.Report, error) {
	return hubpage.Report{}, r.err
}

func serve(t *testing.T, s Service) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent", "control.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, s, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return path
}

func TestErrorsKeepCodeSentenceAndHint(t *testing.T) {
	c := NewClient(serve(t, refusing{wire.NewError(wire.CodePhoneNotReachable)}), nil)
	_, refresh := c.RefreshKeys(t.Context())
	_, request := c.RequestCertificate(t.Context(), CertificateOptions{})
	_, unpair := c.Unpair(t.Context(), "a/../b c")
	_, accept := c.AcceptCA(t.Context(), "phone", "")
	_, devices := c.Devices(t.Context())
	_, ca := c.CA(t.Context())
	withdraw := c.Withdraw(t.Context(), "a/../b c")
	git := c.ClaimGit(t.Context(), GitClaim{})
	pair := c.Pair(t.Context(), PairOptions{}, func(PairEvent) error { return nil })
	for _, err := range []error{refresh, request, unpair, accept, devices, ca, withdraw, git, pair} {
		var e *Error
		if !errors.As(err, &e) || e.Sentence != "The phone is not reachable." || e.Hint == "" ||
			wire.MeaningOf(wire.CodeOf(err)).Exit != wire.ExitNotReachable {
			t.Errorf("%#v", err)
		}
	}
}

func TestSocketModes(t *testing.T) {
	path := serve(t, refusing{})
	for file, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
}

// A malformed request costs itself only.
func TestBadRequests(t *testing.T) {
	path := serve(t, refusing{errors.New("reached")})
	for name, raw := range map[string]string{
		"unknown path":  "GET /v1/other HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n",
		"wrong method":  "PUT /v1/status HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n",
		"no JSON":       "POST /v1/certificate HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Length: 3\r\n\r\n{{{",
		"unknown field": "POST /v1/pair HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Length: 7\r\n\r\n{\"x\":1}",
		"from a page":   "GET /v1/status HTTP/1.1\r\nHost: agent\r\nOrigin: http://evilhub\r\nConnection: close\r\n\r\n",
		"no HTTP":       "\x00\x00\x00\x01\x0b",
	} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, raw+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(conn) // what counts is what came before the end
		conn.Close()
		if strings.Contains(string(answer), http.StatusText(http.StatusOK)) || strings.Contains(string(answer), "reached") {
			t.Errorf("%s: answered %q", name, answer)
		}
	}
	c := NewClient(path, nil)
	if s, err := c.Status(t.Context()); err != nil || s.ConnectionLine != LineNotConnected {
		t.Errorf("afterwards: %+v, %v", s, err)
	}
}

// Whoever comes when too many are there is told so.
func TestTooManyCommands(t *testing.T) {
	path := serve(t, refusing{})
	for range maxConnections {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	c := NewClient(path, nil)
	if _, err := c.Status(t.Context()); wire.CodeOf(err) != CodeBusy {
		t.Errorf("one too many: %v", err)
	}
}

// An agent that is stopped, as by SIGSTOP, takes connections still and answers nothing.
func TestStatusOfAnAgentThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := NewClient(path, nil)
	c.patience = time.Millisecond
	if _, err := c.Status(t.Context()); err == nil || err.Error() != "the agent does not answer" || wire.HintOf(err) == "" {
		t.Errorf("%v, hint %q", err, wire.HintOf(err))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	c.patience = time.Hour
	if _, err := c.Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a limit of the caller's: %v", err)
	}
}
