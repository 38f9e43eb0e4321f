package vmux

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const architecture = "docs/architecture.md"

// testRooms are packages that only tests and measurements use.
var testRooms = []string{"leakcheck", "testkit", "wire/wiretest", "sshdtest", "link/relay/hubtest", "agent/promises"}

// The picture of the rooms is the import graph.
func TestPictureOfTheRooms(t *testing.T) {
	row := rooms(t)
	there := map[string]bool{}
	for _, p := range packages(t) {
		name, ours := room(p.ImportPath)
		if !ours || len(p.GoFiles) == 0 {
			continue
		}
		there[name] = true
		if _, drawn := row[name]; !drawn {
			t.Errorf("%s is not in the picture of %s: write it into a row above all that it imports", name, architecture)
			row[name] = 0 // once
		}
	}
	for name := range row {
		if !there[name] {
			t.Errorf("%s is in the picture of %s, and no package", name, architecture)
		}
	}
	said := map[string]bool{}
	for _, p := range packages(t) {
		from, ours := room(p.ImportPath)
		for _, imported := range p.Imports {
			if to, theirs := room(imported); ours && theirs && row[from] >= row[to] && !said[from+to] {
				said[from+to] = true // on all platforms
				t.Errorf("%s imports %s, which does not stand in a row below it in the picture of %s", from, to, architecture)
			}
		}
	}
}

// rooms returns the row of each package in the picture, from the top.
func rooms(t *testing.T) map[string]int {
	t.Helper()
	_, rest, _ := strings.Cut(page(t), "```text\n")
	picture, _, _ := strings.Cut(rest, "```")
	rows := strings.Split(picture, "─\n")
	if len(rows) < 5 {
		t.Fatalf("no picture of the rooms in %s", architecture)
	}
	row := map[string]int{}
	for n, lines := range rows[1:] { // after the heads of the columns
		for line := range strings.Lines(lines) {
			if strings.HasPrefix(line, "─") {
				continue
			}
			for _, name := range strings.Fields(line[min(len(line), len("read, keep")):]) {
				row[name] = n
			}
		}
	}
	return row
}

// room is a package's name in the picture.
func room(path string) (name string, ok bool) {
	name, internal := strings.CutPrefix(path, "vmux/internal/")
	if !internal {
		name, ok = strings.CutPrefix(path, "vmux/")
		return name, ok && strings.HasPrefix(name, "cmd/")
	}
	return name, !slices.Contains(testRooms, name)
}

// Whoever looks for the place of a change finds it, in three files at most.
func TestPlacesOfChanges(t *testing.T) {
	_, table, _ := strings.Cut(page(t), "| … | here |\n")
	places := 0
	for line := range strings.Lines(table) {
		files := regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(line, -1)
		if len(files) == 0 {
			continue
		}
		places++
		if len(files) > 3 {
			t.Errorf("%d files in %q", len(files), line)
		}
		for _, file := range files {
			if _, err := os.Stat(filepath.Join("docs", file[1])); err != nil {
				t.Errorf("%s: %v", architecture, err)
			}
		}
	}
	if places != 10 {
		t.Errorf("%d places of changes, want 10", places)
	}
}

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
