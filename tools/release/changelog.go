package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// width is that of a line of Debian's changelogs.
const width = 80

// changelogs writes a changelog for each package in the format of deb-changelog(5), made of
// the newest version in CHANGELOG.md. The packages have those of before no more, as their
// programs have none.
func (o options) changelogs(s source, to string) error {
	all, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		return err
	}
	_, newest, found := strings.Cut(string(all), "\n## ")
	if !found {
		return fmt.Errorf("CHANGELOG.md has no version")
	}
	newest, _, _ = strings.Cut(newest, "\n## ")
	_, newest, _ = strings.Cut(newest, "\n") // without its heading
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, name := range packaged {
		var text strings.Builder
		// A hyphen would begin Debian's own revision; a tilde sorts before all else.
		fmt.Fprintf(&text, "%s (%s) unstable; urgency=medium\n\n", name, strings.Replace(s.version, "-", "~", 1))
		for change := range strings.SplitSeq(newest, "\n- ") {
			wrap(&text, change)
		}
		fmt.Fprintf(&text, "\n -- %s  %s\n", o.maintainer, s.date.Format(time.RFC1123Z))
		var packed bytes.Buffer
		if err := compress(&packed, []byte(text.String())); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name+".gz"), packed.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// wrap writes one change, as lines of words.
func wrap(to *strings.Builder, change string) {
	line := "  *"
	for word := range strings.FieldsSeq(change) {
		if len(line)+1+len(word) > width {
			fmt.Fprintln(to, line)
			line = "   "
		}
		line += " " + word
	}
	fmt.Fprintln(to, line)
}
