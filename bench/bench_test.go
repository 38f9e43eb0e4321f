package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/testkit"
)

// TestMain is also this program in its other roles.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && roles[os.Args[1]] != nil {
		os.Stderr.WriteString(roles[os.Args[1]](os.Args[2]).Error())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Everything that is measured can be measured. The figures of so short a run
// say nothing, and none is judged here.
func TestQuick(t *testing.T) {
	program := filepath.Join(buildPrograms(t), "vmux")
	var out bytes.Buffer
	if err := run(&out, options{program: program, quick: true}); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{
		"sign, 1 connection, one CPU", "sign, 64 connections", "list, 8 connections", "ssh … true, wall", "agent's CPU",
		"TLS 1.3 echo", "direct link", "handshake through a hub", "32 requests waiting", "start to first answer", "memory idle", "signatures",
		"wait, with TLS", "phone through a hub", "new profile", "again, CPU throttled", "sheet drawn", "tap on Approve", "ssh by passkey", "issue a certificate",
		"while nothing happens",
	} {
		if !strings.Contains(out.String(), what) {
			t.Errorf("the table has no %q:\n%s", what, out.String())
		}
	}
}

// buildPrograms builds both, the hub with the app as the sources have it: neither
// without one, nor with the one that `make build` left, nor with a compressed
// one, which takes a minute.
func buildPrograms(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	app := filepath.Join(dir, "app")
	dist, err := filepath.Abs("../web/phone/dist")
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for _, name := range []string{"vmux.wasm", "wasm_exec.js"} {
		replace[filepath.Join(dist, name)] = filepath.Join(app, name)
		replace[filepath.Join(dist, name+".br")], replace[filepath.Join(dist, name+".gz")] = "", "" // none
	}
	if out, err := exec.Command("go", "run", "-C", "..", "vmux/web/phone/build", "-plain", "-to", app).CombinedOutput(); err != nil {
		t.Fatalf("build the app: %v\n%s", err, out)
	}
	if err := testkit.Build(dir, replace, "vmux/cmd/vmux", "vmux/cmd/vmux-hub"); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestQuickAlone(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, options{quick: true, alone: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "list, 8 connections") {
		t.Errorf("the table is short:\n%s", out.String())
	}
}

func TestVerdict(t *testing.T) {
	r := row{vmux: []float64{1, 4, 9}, other: []float64{2, 2, 2}}
	ratios := r.ratios()
	if ratios[0] != 0.5 || ratios[1] != 2 || ratios[2] != 4.5 {
		t.Fatalf("ratios %v", ratios)
	}
	for _, test := range []struct {
		target target
		met    string
	}{{atMost(2), "yes"}, {atMost(1.9), "no"}, {atLeast(2), "yes"}, {atLeast(2.1), "no"}, {target{}, ""}} {
		r.target = test.target
		if _, met := r.verdict(ratios[1]); met != test.met {
			t.Errorf("%+v: met %q, want %q", test.target, met, test.met)
		}
	}
}

// A run that is cut off has printed what it measured.
func TestEachRowIsPrintedAtOnce(t *testing.T) {
	var out bytes.Buffer
	table := newTable(&out)
	for _, what := range []string{"first", "second"} {
		table.add(row{what, "other", seconds, []float64{1}, []float64{2}, atLeast(1)})
		if last := out.String()[strings.LastIndex(strings.TrimSpace(out.String()), "\n")+1:]; !strings.HasPrefix(last, what+" ") || !strings.Contains(last, "0.50") {
			t.Errorf("%s is not printed yet:\n%s", what, out.String())
		}
	}
	if table.end(); !strings.HasSuffix(out.String(), "\n2 of the targets missed\n") {
		t.Errorf("the end:\n%s", out.String())
	}
}

// A failure gives back what was started, and nothing twice.
func TestScope(t *testing.T) {
	s := &scope{}
	var order []int
	err := s.catch(func() {
		s.Cleanup(func() { order = append(order, 1) })
		s.Cleanup(func() { order = append(order, 2) })
		s.Fatalf("no %s", "luck")
	})
	if err == nil || err.Error() != "no luck" {
		t.Errorf("err %v", err)
	}
	s.end()
	s.end()
	if len(order) != 2 || order[0] != 2 {
		t.Errorf("cleaned up in order %v", order)
	}
}
