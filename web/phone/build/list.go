package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"vmux/internal/hub/webapp"
	"vmux/internal/hubpage"
	"vmux/web/phone"
)

// note writes the list of what a hub serves of the app in from. It asks the hub's
// own handler, so that the list cannot differ from what a hub does.
func note(from, to string) error {
	l, err := list(from)
	if err != nil {
		return fmt.Errorf("list the app's files: %w", err)
	}
	b, err := json.MarshalIndent(l, "", "\t")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, b) {
		return nil // vmux need not be compiled again
	}
	return replace(to, b)
}

func list(from string) (*hubpage.List, error) {
	app, err := phone.New(os.DirFS(from))
	if err != nil {
		return nil, err
	}
	handler, err := webapp.New(app.Files(), phone.ContentSecurityPolicy)
	if err != nil {
		return nil, err
	}
	l := &hubpage.List{Version: app.Version(), Headers: map[string]string{}, Files: map[string]hubpage.File{}}
	headers := http.Header{}
	webapp.SecurityHeaders(headers, phone.ContentSecurityPolicy)
	for name := range headers {
		l.Headers[name] = headers.Get(name)
	}
	err = fs.WalkDir(app.Files(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name = strings.TrimSuffix(strings.TrimSuffix(name, ".br"), ".gz")
		answer := httptest.NewRecorder() // of a request without Accept-Encoding: the file as it is
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/"+name, nil))
		if answer.Code != http.StatusOK {
			return fmt.Errorf("%s: HTTP status %d", name, answer.Code)
		}
		sum := sha256.Sum256(answer.Body.Bytes())
		l.Files[name] = hubpage.File{SHA256: hex.EncodeToString(sum[:]), ContentType: answer.Header().Get("Content-Type")}
		return nil
	})
	return l, err
}
