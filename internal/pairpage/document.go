package pairpage

import (
	"fmt"
	"html/template"
	"strings"

	"rsc.io/qr"

	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/wire"
)

// content is what stands on the page.
type content struct {
	Nonce, Wait    string
	How, Warning   string
	Link           bool // the invitation is for a browser of this computer
	Invitation     string
	Code           template.HTML
	DeviceID, Ends string
}

func contentOf(i control.Invitation, wait, nonce string) content {
	c := content{
		Nonce: nonce, Wait: wait, Invitation: i.URL, DeviceID: device.InFours(wire.Show(i.DeviceID)),
		Ends: i.Expires.Local().Format("15:04:05"),
	}
	switch {
	case i.Hub == "":
		c.How = "Scan this code in the app, or run the command on the machine that is to be the phone."
	case strings.HasPrefix(i.Hub, "http:"):
		c.How, c.Link = "Open the app in a browser on this computer:", true
	default:
		c.How = "Scan this code with the phone's camera: it opens " + wire.Show(i.Hub) +
			". On an iPhone, add that page to the Home Screen first, and scan inside the app."
	}
	if i.HubError != "" {
		c.Warning = "The hub cannot be reached, so the phone has to be on this network: " + wire.Show(i.HubError) + " " + wire.Show(i.HubHint)
	}
	if code, err := qr.Encode(i.URL, qr.L); err == nil { // else it is too long for one: the text is there
		c.Code = drawing(code)
	}
	return c
}

// drawing is the code as SVG, black on white in any theme, with the margin of four
// modules that cameras need (ISO/IEC 18004).
func drawing(code *qr.Code) template.HTML {
	const margin = 4
	var path strings.Builder
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			begin := x
			for code.Black(x, y) { // which is white outside of the code
				x++
			}
			if x > begin {
				fmt.Fprintf(&path, "M%d %dh%dv1h%dz", begin+margin, y+margin, x-begin, begin-x)
			}
		}
	}
	size := code.Size + 2*margin
	return template.HTML(fmt.Sprintf(`<svg viewBox="0 0 %d %d" role="img" aria-label="QR code of the invitation" shape-rendering="crispEdges">`+
		`<rect width="%d" height="%d" fill="#fff"/><path d="%s" fill="#000"/></svg>`, size, size, size, size, path.String()))
}

var document = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<!-- Dark Reader makes the code light on dark, which many phones do not read (darkreader#2236). -->
<meta name="darkreader-lock">
<title>Pair a phone with vmux</title>
<style nonce="{{.Nonce}}">
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { max-width: 36rem; margin: 2rem auto; padding: 0 1rem }
svg { display: block; width: min(100%, 24rem); margin: 1rem auto }
code { overflow-wrap: anywhere }
</style>
<main id="main">
<h1>Pair a phone</h1>
{{with .Warning}}<p role="alert"><strong>{{.}}</strong>{{end}}
<p>{{.How}}
{{if .Link}}<p><a href="{{.Invitation}}" target="_blank" rel="noreferrer">Open the app</a>{{end}}
{{.Code}}
<p>For a phone that is another machine, run there: <code>vmux phone pair '{{.Invitation}}'</code>
<p>The phone shows this computer's device ID: <code>{{.DeviceID}}</code>
<p>It works once, until {{.Ends}}. Whoever sees it first can pair: show it to your own phone only. Closing this page ends it.
</main>
<p id="outcome" role="status"></p>
<script nonce="{{.Nonce}}">
const end = text => {
  document.getElementById('main').remove();
  document.getElementById('outcome').textContent = text;
};
fetch({{.Wait}}, {method: 'POST'}).then(answer => answer.text()).then(end, () => end('This invitation has ended.'));
</script>
</html>
`))
