package web

import (
	"image"
	"image/draw"
	"testing"

	"rsc.io/qr"

	"vmux/internal/sshdtest"
	"vmux/test/browser"
)

// seen is a QR code as a camera sees it.
func seen(t *testing.T, text string) *image.Gray {
	t.Helper()
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	const side = 480
	code.Scale = side / (code.Size + 8)
	grey := image.NewGray(image.Rect(0, 0, side, side))
	draw.Draw(grey, grey.Bounds(), image.White, image.Point{}, draw.Src)
	draw.Draw(grey, grey.Bounds(), code.Image(), image.Point{}, draw.Src)
	return grey
}

// A person's whole way, by nothing but what is on the screen: the camera reads
// the code that `vmux pair` has printed, and taps pair, approve and deny.
func TestByTaps(t *testing.T) {
	w := &world{hub: StartHub(t)}
	w.agent = StartAgent(t, w.hub.URL)
	invitation, paired := w.agent.Invite()
	w.browser = StartBrowser(t, browser.Camera(t, t.TempDir(), seen(t, invitation)))
	w.page = w.browser.Open(w.hub.URL + "/#pair")
	w.authenticator = w.page.Authenticator(browser.AuthenticatorOptions{})
	w.page.Tap("Pair")
	paired()
	w.page.MustCall("createPasskey", map[string]string{"label": "face"}, nil)
	w.listed(t)
	client, line := sshdtest.New(t), w.page.Identity("face").AuthorizedKey
	server := sshdtest.Old(t).StartServer(t, sshdtest.Config{AuthorizedKeys: []string{line}})
	out, err := finish(server.Command(deadline(t), t, client, w.agent.Socket, "echo", "in"), func() { w.page.Tap("Approve") })
	if err != nil || out != "in\n" {
		t.Errorf("%v\n%s\n%s", err, out, w.page.Console())
	}
	out, err = finish(server.Command(deadline(t), t, client, w.agent.Socket, "echo", "in"), func() { w.page.Tap("Deny") })
	if err == nil {
		t.Errorf("logged in after a denial: %s", out)
	}
	if list := records(w.page, t); len(list) != 2 || list[0].Decision != "denied" || list[1].Decision != "approved" {
		t.Errorf("log %+v", list)
	}
}
