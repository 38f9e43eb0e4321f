package web

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"rsc.io/qr"

	"vmux/internal/sshdtest"
	"vmux/test/browser"
)

// film writes what a camera sees that looks at the code: one grey picture in
// YUV4MPEG2, which Chromium repeats.
func film(t *testing.T, text string) string {
	t.Helper()
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	const width, height = 640, 480
	scale := (height - 40) / code.Size
	left, top := (width-scale*code.Size)/2, (height-scale*code.Size)/2
	picture := bytes.Repeat([]byte{235}, width*height)
	for y := range scale * code.Size {
		for x := range scale * code.Size {
			if code.Black(x/scale, y/scale) {
				picture[(top+y)*width+left+x] = 16
			}
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420jpeg\nFRAME\n", width, height)
	b.Write(picture)
	b.Write(bytes.Repeat([]byte{128}, width*height/2))
	path := filepath.Join(t.TempDir(), "camera.y4m")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A person's whole way, by nothing but what is on the screen: the camera reads
// the code that `vmux pair` has printed, and taps pair, approve and deny.
func TestByTaps(t *testing.T) {
	w := &world{hub: StartHub(t)}
	w.agent = StartAgent(t, w.hub.URL)
	invitation, paired := w.agent.Invite()
	w.browser = StartBrowser(t, chromedp.Flag("use-file-for-fake-video-capture", film(t, invitation)))
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
