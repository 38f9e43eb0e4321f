package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"vmux/internal/cli/command"
)

// program is one beside vmux, whose page is made of what it says to --help.
type program struct {
	name, is string
	section  int
}

// programs are those. Section 1 has the page of the command `vmux hub` as vmux-hub.
var programs = []program{
	{name: "vmux-hub", is: "relay between vmux agents and phones, and host of the web app", section: 8},
	{name: "vmux-tray", is: "the agent in the menu bar or tray", section: 1},
}

// option is a line of help that describes a flag, which Go's own package puts below it.
var option = regexp.MustCompile(`^  +(-\S+(?: \S+)*?)(?:  +|\n    \t)(.+)$`)

func (p program) write(pages string) error {
	cmd := exec.Command("go", "-C", "..", "run", "./cmd/"+p.name, "--help")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	b, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, b)
	}
	folder := filepath.Join(pages, fmt.Sprintf("man%d", p.section))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	date := time.Now()
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		date = time.Unix(seconds, 0)
	}
	page := fmt.Sprintf(".TH %s %d %q %q vmux\n.SH NAME\n%s \\- %s\n.SH DESCRIPTION\n", strings.ToUpper(p.name), p.section,
		date.UTC().Format("Jan 2006"), "vmux "+command.Version, strings.ReplaceAll(p.name, "-", `\-`), p.is) + roff(string(b))
	return os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s.%d", p.name, p.section)), []byte(page), 0o644)
}

// roff sets a help text: paragraphs, headings that end with a colon, flags, and other
// indented lines as they are.
func roff(help string) string {
	var out strings.Builder
	asIs := false
	set := func(on bool) {
		if on != asIs {
			out.WriteString(map[bool]string{true: ".PP\n.nf\n", false: ".fi\n"}[on])
			asIs = on
		}
	}
	text := strings.NewReplacer(`\`, `\e`, "-", `\-`)
	for line := range strings.Lines(strings.ReplaceAll(help, "\n    \t", "\x00")) {
		line = strings.ReplaceAll(strings.TrimRight(line, "\n"), "\x00", "\n    \t")
		switch flag := option.FindStringSubmatch(line); {
		case flag != nil:
			set(false)
			fmt.Fprintf(&out, ".TP\n.B %s\n%s\n", text.Replace(flag[1]), text.Replace(flag[2]))
		case strings.HasPrefix(line, " "):
			set(true)
			fmt.Fprintln(&out, text.Replace(line))
		case line == "":
			set(false)
			fmt.Fprintln(&out, ".PP")
		case strings.HasSuffix(line, ":"):
			set(false)
			fmt.Fprintf(&out, ".SH %s\n", strings.ToUpper(strings.TrimSuffix(line, ":")))
		default:
			fmt.Fprintln(&out, text.Replace(line))
		}
	}
	set(false)
	return out.String()
}
