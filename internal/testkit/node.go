package testkit

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
)

// Node runs a script under Node.js with the packages that `make setup` installs below
// root, the repository's. In goes to its standard input as JSON; out comes from its output.
func Node(t TB, root, script, what string, in, out any) {
	modules, err := filepath.Abs(filepath.Join(root, ".cache/npm/node_modules"))
	if err == nil {
		_, err = os.Stat(modules)
	}
	if err != nil {
		t.Fatalf("%v: run make setup", err)
	}
	input, err := json.Marshal(in)
	if err != nil {
		t.Fatalf("encode the input: %v", err)
	}
	cmd := exec.Command("node", script, what)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v (run make setup if it is missing)\n%s", err, &stderr)
	}
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
}
