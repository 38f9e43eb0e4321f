package phone

import (
	"fmt"
	"strings"
	"time"

	"vmux/internal/signer"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// What a sheet says. Whatever another device sent passes wire.Show.

func signText(s signer.SignSheet) string {
	var b strings.Builder
	title(&b, s.From.Name, "asks for a signature")
	row(&b, "computer", nameOf(s.Sheet))
	row(&b, "key", wire.Show(s.Label)+"  "+s.Fingerprint)
	what(&b, s)
	if s.Claimed.HostName != "" {
		row(&b, "host", fmt.Sprintf("%q, so the computer says", wire.Show(s.Claimed.HostName)))
	}
	if len(s.Claimed.Programs) > 0 {
		row(&b, "program", wire.Show(strings.Join(s.Claimed.Programs, ", run by "))+", so the computer says")
	}
	return b.String()
}

func certificateText(s signer.CertificateSheet) string {
	var b strings.Builder
	title(&b, s.From.Name, "asks for a session certificate")
	row(&b, "computer", nameOf(s.Sheet))
	row(&b, "for", wire.Show(s.Label))
	row(&b, "to", "log in as "+wire.Show(strings.Join(s.Principals, ", "))+" without asking again")
	row(&b, "for", validity(s.Validity))
	if s.Automatic {
		row(&b, "asked", "by the computer itself: nobody pressed a button there")
	}
	return b.String()
}

// what says what the signed bytes say, and how far that can be trusted.
func what(b *strings.Builder, s signer.SignSheet) {
	k := s.Known
	switch k.Kind {
	case sshctx.HostBound:
		row(b, "to", "log in as "+wire.Show(k.User)+" to the server with the host key")
		row(b, "", sshctx.Fingerprint(k.HostKey)+", and to no other (verified)")
	case sshctx.UserAuth:
		row(b, "to", "log in as "+wire.Show(k.User)+" to a server that is not known")
	case sshctx.SSHSIG:
		row(b, "to", "sign data for the purpose "+fmt.Sprintf("%q", wire.Show(k.Namespace))+" (verified)")
	default:
		row(b, "to", "sign bytes that this phone cannot read")
	}
}

func title(b *strings.Builder, name, asks string) {
	fmt.Fprintf(b, "---- %s %s\n", wire.Show(name), asks)
}

func row(b *strings.Builder, name, text string) {
	fmt.Fprintf(b, "  %-9s %s\n", name, text)
}

func nameOf(s signer.Sheet) string {
	return wire.Show(s.From.Name) + "  (device " + s.From.ID.Short() + ")"
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
