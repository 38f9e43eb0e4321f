package test

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var write = flag.Bool("write", false, "write the recording into the repository")

// said is a line of a recorded program, and when it came.
type said struct {
	after time.Duration
	text  string
}

// The recording in docs/screenshots is of `vmux demo` as it is: the same steps by the same
// commands. `make screenshots` records it anew.
func TestRecordingIsOfThisProgram(t *testing.T) {
	t.Parallel()
	const cast, picture = "../docs/screenshots/demo.cast", "../docs/screenshots/demo.svg"
	now := recordDemo(t)
	if *write {
		for path, text := range map[string]string{cast: castOf(t, now), picture: pictureOf(now)} {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	b, err := os.ReadFile(cast)
	if err != nil {
		t.Fatal(err)
	}
	var then []said
	for line := range strings.Lines(string(b)) {
		var event []any
		if json.Unmarshal([]byte(line), &event) == nil && len(event) == 3 {
			then = append(then, said{text: strings.TrimRight(fmt.Sprint(event[2]), "\r\n")})
		}
	}
	if got, want := steps(now), steps(then); len(got) < 15 || !slices.Equal(got, want) {
		t.Errorf("vmux demo goes\n%s\nand was recorded as\n%s\nmake screenshots", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// recordDemo runs `vmux demo`. Names of this machine are left out, and what fills the screen is cut.
func recordDemo(t *testing.T) (list []said) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := newHome(t).command(ctx, "demo", "--yes")
	cmd.Env = append(cmd.Env, "TMPDIR=/tmp")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	host, _ := os.Hostname()
	name := regexp.MustCompile(`\b` + regexp.QuoteMeta(host) + `\b`)
	account := regexp.MustCompile(`--principals \S+`)
	long := regexp.MustCompile(`\b([A-Za-z0-9+/]{12})[A-Za-z0-9+/]{40,}=*`)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text := account.ReplaceAllString(name.ReplaceAllString(lines.Text(), "laptop"), "--principals root")
		text = long.ReplaceAllString(text, "$1…")
		list = append(list, said{time.Since(begun), text})
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return list
}

// steps are the numbered titles and the commands.
func steps(list []said) (steps []string) {
	of := regexp.MustCompile(`^[0-9]+\. |^ +(phone|computer)\$ `)
	for _, line := range list {
		if of.MatchString(line.text) {
			steps = append(steps, line.text)
		}
	}
	return steps
}

const columns, rows = 110, 32

// castOf is the recording for asciinema (asciicast version 2).
func castOf(t *testing.T, list []said) string {
	t.Helper()
	text := fmt.Sprintf(`{"version": 2, "width": %d, "height": %d, "idle_time_limit": 1, "title": "vmux demo"}`+"\n", columns, rows)
	for _, line := range list {
		event, err := json.Marshal([]any{line.after.Round(time.Millisecond).Seconds(), "o", line.text + "\r\n"})
		if err != nil {
			t.Fatal(err)
		}
		text += string(event) + "\n"
	}
	return text
}

// pictureOf shows it as a picture that moves: the lines come one after the other, and scroll, with
// pauses that can be read by and waited for. Who wants no motion sees the end.
func pictureOf(list []said) string {
	const height, width, slower, pause, rest = 18, 8, 3, 1.5, 8
	times, whole := make([]float64, len(list)), 0.0
	for n := range list {
		if n > 0 {
			whole += min(slower*(list[n].after-list[n-1].after).Seconds(), pause)
		}
		times[n] = whole
	}
	whole += rest
	at := func(n int) float64 { return 100 * times[n] / whole }
	var style, text, scroll strings.Builder
	for n, line := range list {
		if n < rows {
			fmt.Fprintf(&style, "@keyframes l%d{0%%{opacity:0}%.2f%%{opacity:1}}#l%d{animation-name:l%d}\n", n, at(n), n, n)
		} else {
			fmt.Fprintf(&scroll, "%.2f%%{transform:translateY(%dpx)}", at(n), -(n-rows+1)*height)
		}
		shown := []rune(line.text)
		if len(shown) > columns {
			shown = append(shown[:columns-1], '…')
		}
		class := ""
		if len(steps([]said{line})) > 0 {
			class = ` class="typed"`
		}
		fmt.Fprintf(&text, `<text id="l%d"%s x="%d" y="%d">`, n, class, width, (n+1)*height)
		_ = xml.EscapeText(&text, []byte(string(shown))) // of a Builder
		text.WriteString("</text>\n")
	}
	end := -max(0, len(list)-rows) * height
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="A recording of vmux demo">
<style>
text{font:13px ui-monospace,monospace;fill:#c9d1d9;white-space:pre}
.typed{fill:#7ee787;font-weight:600}
#all{transform:translateY(%dpx)}
@media (prefers-reduced-motion:no-preference){
#all,text{animation:%.1fs step-end infinite}
#all{animation-name:scroll}
@keyframes scroll{0%%{transform:translateY(0)}%s}
%s}
</style>
<rect width="100%%" height="100%%" rx="8" fill="#0d1117"/>
<svg y="6" width="100%%" height="%d"><g id="all">
%s</g></svg>
</svg>
`, (columns+2)*width, rows*height+18, end, whole, scroll.String(), style.String(), rows*height+6, text.String())
}
