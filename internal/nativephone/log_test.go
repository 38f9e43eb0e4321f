//go:build linux || darwin

package nativephone

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vmux/internal/device"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// logFiles are the log and the note of its end, as they rest.
type logFiles struct {
	folder    string
	log, head []byte
}

func filesOf(t *testing.T, folder string) logFiles {
	t.Helper()
	f := logFiles{folder: folder}
	var err error
	if f.log, err = os.ReadFile(filepath.Join(folder, "activity.jsonl")); err == nil {
		f.head, err = os.ReadFile(filepath.Join(folder, "activity-head.json"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// put leaves the log as it was, cut off at a byte.
func (f logFiles) put(t *testing.T, log []byte) {
	t.Helper()
	for name, b := range map[string][]byte{"activity.jsonl": log, "activity-head.json": f.head} {
		if err := os.WriteFile(filepath.Join(f.folder, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// noted makes a record.
func noted(t *testing.T, p *Phone, name string) {
	t.Helper()
	if err := p.Signer.Activity.Paired(device.Peer{ID: device.ID{1}, Name: wire.Clean(name)}); err != nil {
		t.Fatal(err)
	}
}

// notedAnew makes a record in a process that begins with what rests.
func notedAnew(t *testing.T, home state.Home) {
	t.Helper()
	p := openPhone(t, home)
	defer p.Close()
	noted(t, p, "next")
}

// found is what another process finds in the log: its records, what was left
// unfinished, and what is wrong.
func found(t *testing.T, home state.Home) (names string, unfinished int, problems []string) {
	t.Helper()
	p, err := read(home, errors.New("to be read"), nil)
	if err != nil {
		t.Fatal(err)
	}
	records, err := p.Signer.Activity.Records()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		names += r.DeviceName.String() + " "
	}
	report, err := p.Signer.Activity.Verify()
	if err != nil {
		t.Fatal(err)
	}
	return names, report.Unfinished, report.Problems
}

// SIGKILL, or a power cut, comes at any byte of a record, on a real file: nothing
// earlier is lost, nothing is called tampering, and the log goes on. The note of
// the log's end is written after the record.
func TestLogCutByACrashAtAnyByte(t *testing.T) {
	p, home := newPhone(t)
	for n := range 3 {
		noted(t, p, fmt.Sprint("r", n+1))
	}
	before := filesOf(t, p.dir.Path())
	noted(t, p, "r4")
	full := filesOf(t, p.dir.Path()).log
	p.Close()
	for cut := len(before.log); cut <= len(full); cut++ {
		before.put(t, full[:cut])
		ids, unfinished, problems := found(t, home)
		whole := cut >= len(full)-1 // its line end alone is missing
		want, torn := "r1 r2 r3 ", 0
		if whole {
			want += "r4 "
		} else if cut > len(before.log) {
			torn = 1
		}
		if ids != want || unfinished != torn || len(problems) > 0 {
			t.Fatalf("cut after %d bytes of %d: %q, %d unfinished, %q", cut-len(before.log), len(full)-len(before.log), ids, unfinished, problems)
		}
		notedAnew(t, home)
		if ids, unfinished, problems = found(t, home); ids != want+"next " || unfinished != torn || len(problems) > 0 {
			t.Fatalf("cut after %d bytes, then written on: %q, %d unfinished, %q", cut-len(before.log), ids, unfinished, problems)
		}
	}
}

// attacker: cuts the log off, at any byte of its last two records. The note of its
// end tells that from a crash, also after the log has been written on.
func TestLogCutByHandAtAnyByte(t *testing.T) {
	p, home := newPhone(t)
	for n := range 4 {
		noted(t, p, fmt.Sprint("r", n+1))
	}
	whole := filesOf(t, p.dir.Path())
	p.Close()
	lines := bytes.SplitAfter(whole.log, []byte("\n"))
	begin := len(lines[0]) + len(lines[1])
	for cut := begin; cut < len(whole.log)-1; cut++ {
		whole.put(t, whole.log[:cut])
		ids, _, problems := found(t, home)
		if !strings.HasPrefix(ids, "r1 r2 ") || len(problems) == 0 {
			t.Fatalf("cut at byte %d of %d: %q, %q", cut, len(whole.log), ids, problems)
		}
		notedAnew(t, home)
		if ids, _, problems = found(t, home); !strings.HasPrefix(ids, "r1 r2 ") || !strings.HasSuffix(ids, " next ") || len(problems) == 0 {
			t.Fatalf("cut at byte %d, then written on: %q, %q", cut, ids, problems)
		}
	}
}
