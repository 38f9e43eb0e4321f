package terminal

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"

	"vmux/internal/wire"
)

const (
	// usualWidth is that of a terminal that does not say its own.
	usualWidth = 80
	// leastWidth is the narrowest terminal that lines are broken for.
	leastWidth = 40
	// rowIndent is where the text of a row begins, and titleIndent that of a title.
	rowIndent, titleIndent = 12, 5
)

// layOut breaks lines to a terminal's width. What follows of a row begins below its
// text: where the terminal breaks a line itself, what another device chose would
// begin at the left, and could be a row of its own.
func layOut(text string, columns int) string {
	if columns <= 0 {
		columns = usualWidth
	}
	columns = max(columns, leastWidth) - 1 // the last column makes some terminals wrap
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		indent := 0
		switch {
		case strings.HasPrefix(line, "  "):
			indent = rowIndent
		case strings.HasPrefix(line, "----"):
			indent = titleIndent
		}
		for {
			end := breakAt(line, indent, columns)
			b.WriteString(strings.TrimRight(line[:end], " ") + "\n")
			if end == len(line) {
				break
			}
			line = strings.Repeat(" ", indent) + strings.TrimLeft(line[end:], " ")
		}
	}
	return b.String()
}

// breakAt returns how much of the line fits, if it can up to a blank behind the
// indent.
func breakAt(line string, indent, columns int) int {
	blank, used := 0, 0
	for at, r := range line {
		if used += columnsOf(r); used > columns {
			if blank > 0 {
				return blank
			}
			return at
		}
		if r == ' ' && at >= indent {
			blank = at
		}
	}
	return len(line)
}

// columnsOf is how many columns a character takes, at most: terminals do not agree
// on those that East Asian ones draw wide, and a mark may get a column of its own.
func columnsOf(r rune) int {
	if r < utf8.RuneSelf {
		return 1
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth, width.EastAsianAmbiguous:
		return 2
	}
	return 1
}

// columnsIn is how many columns a line takes, at most.
func columnsIn(line string) (n int) {
	for _, r := range line {
		n += columnsOf(r)
	}
	return n
}

// Named is another device's name in a line that is not laid out, since it is no part of a
// sheet, though it may stand below one: short, for where the terminal breaks the line the
// rest of a long name could be drawn like a row.
func Named(text wire.Text) string {
	const most = 32 // columns
	name, used := text.String(), 0
	for at, r := range name {
		if used += columnsOf(r); used > most {
			name = name[:at] + "…"
			break
		}
	}
	return inQuotes(name)
}

// Quoted is text of another device's, in quotes where its brackets could pass for
// the mark behind it.
func Quoted(text wire.Text) string { return inQuotes(text.String()) }

func inQuotes(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return unicode.In(r, unicode.Ps, unicode.Pe) }) < 0 {
		return text
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
