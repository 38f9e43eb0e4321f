//go:build !js

package relay_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/device"
	"vmux/internal/wire"
	"vmux/internal/wire/wiretest"
)

// startPage runs the phone of testdata/page as WebAssembly under Node, whose
// WebSocket is the browsers', and returns its ID.
func startPage(t *testing.T, hubURL string, computer device.ID) device.ID {
	t.Helper()
	program := filepath.Join(t.TempDir(), "page.wasm")
	build := exec.Command("go", "build", "-o", program, "./testdata/page")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the page: %v\n%s", err, out)
	}
	root := strings.TrimSpace(string(must(exec.Command("go", "env", "GOROOT").Output())))
	page := exec.Command("node", "--experimental-websocket", "--stack-size=8192",
		filepath.Join(root, "lib/wasm/wasm_exec_node.js"), program, hubURL, computer.String())
	page.Env = []string{"PATH=" + os.Getenv("PATH")} // wasm programs have little room for it
	var stderr bytes.Buffer
	page.Stderr = &stderr
	stdout := must(page.StdoutPipe())
	if err := page.Start(); err != nil {
		t.Fatalf("node is missing? run make setup: %v", err)
	}
	t.Cleanup(func() {
		_ = page.Process.Kill()
		_ = page.Wait()
		if t.Failed() {
			t.Log(stderr.String())
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the page says nothing: %v: %s", err, stderr.String())
	}
	return must(device.ParseID(strings.TrimSpace(line)))
}

// TestPage: the other end of the link is a page, with the browser's WebSocket.
// It answers, and comes back by itself when the hub was away.
func TestPage(t *testing.T) {
	onEachHub(t, func(t *testing.T, h *running) {
		agent := newAgent(t, "laptop", h.place)
		page := startPage(t, h.place.url, agent.id)
		if err := agent.trust.Add(device.Peer{ID: page, Name: wire.Clean("page")}); err != nil {
			t.Fatal(err)
		}
		defer agent.start()()
		for round := range 2 {
			for _, size := range []int{1, 1000, 300000} {
				body := struct {
					Data []byte `json:"data"`
				}{bytes.Repeat([]byte("x"), size)}
				e, err := agent.Ask(seconds(t, 60), page, wire.KindKeyListRequest, wire.NewID(), body, nil)
				if err != nil || !bytes.Equal(e.Body, must(wiretest.Envelope("", "", body)).Body) {
					t.Fatalf("round %d, %d bytes: %v, %d bytes came back", round, size, err, len(e.Body))
				}
			}
			if round == 0 {
				h.end()
				agent.until(func() bool { return agent.down == 1 })
				h.again()
			}
		}
	})
}
