package terminal

import (
	"fmt"
	"strings"
	"time"

	"vmux/internal/signer"
	"vmux/internal/signer/activity"
	"vmux/internal/wire"
)

// What a sheet says.

func signText(s signer.SignSheet) string {
	var b strings.Builder
	title(&b, s.From.Name, "asks: "+s.Title().String())
	row(&b, "computer", nameOf(s.Sheet))
	row(&b, "key", s.Label.String()+"  "+s.Fingerprint)
	if s.Known.Kind == "" {
		row(&b, "to", "sign bytes that this phone cannot read")
	}
	for _, l := range s.Lines() {
		row(&b, l.Name, marked(l))
	}
	return b.String()
}

// marked is a line's text, and how far it can be believed: what the phone has found
// by itself, or what the computer says, or the host that asks for sudo.
func marked(l activity.Line) string {
	switch l.Quality {
	case wire.QualityVerified:
		return l.Value.String() + "  (verified)"
	case activity.QualityAsker:
		return Quoted(l.Value) + "  (so the host says)"
	}
	return Quoted(l.Value) + "  (so the computer says)"
}

func certificateText(s signer.CertificateSheet) string {
	var b strings.Builder
	title(&b, s.From.Name, "asks for a session certificate")
	row(&b, "computer", nameOf(s.Sheet))
	row(&b, "for", s.Label.String())
	row(&b, "to", "log in as "+wire.Show(strings.Join(s.Principals, ", "))+" without asking again")
	row(&b, "valid for", validity(s.Validity))
	if s.Automatic {
		row(&b, "asked", "by the computer itself: nobody pressed a button there")
	}
	return b.String()
}

func title(b *strings.Builder, name wire.Text, asks string) {
	fmt.Fprintf(b, "---- %s %s\n", Quoted(name), asks)
}

func row(b *strings.Builder, name, text string) {
	fmt.Fprintf(b, "  %-9s %s\n", name, text)
}

func nameOf(s signer.Sheet) string {
	return Quoted(s.From.Name) + "  (device " + s.From.ID.Short() + ")"
}

// validity writes a duration without the units that are zero: 8h, 1h30m.
func validity(d time.Duration) string {
	text := strings.TrimSuffix(d.String(), "0s")
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	if text == "" {
		return "0s"
	}
	return text
}
