package webui

import (
	"image"
	"image/png"
	"os"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"rsc.io/qr"

	"vmux/internal/device"
	"vmux/internal/link/relay"
	"vmux/test/browser"
)

// maxPicture keeps the repository small, in bytes.
const maxPicture = 100 << 10

// checkPNG checks that a committed picture is there and of one or two times this size.
func checkPNG(t *testing.T, path string, width, height int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatalf("run `make screenshots`: %v", err)
	}
	defer f.Close()
	c, err := png.DecodeConfig(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if c.Width != width && c.Width != 2*width || c.Height*width != c.Width*height {
		t.Errorf("%s is %d by %d, want %d by %d or twice that: run `make screenshots`", path, c.Width, c.Height, width, height)
	}
	if info, err := f.Stat(); err != nil || info.Size() > maxPicture {
		t.Errorf("%s has over %d bytes (%v)", path, maxPicture, err)
	}
}

// room is what the browser's camera sees: an invitation as a QR code on a screen.
func room(t *testing.T) *image.Gray {
	t.Helper()
	code, err := qr.Encode(device.NewInvitation(device.ID{1}, "studio", []string{relay.Route(hubURL)}, hubURL+"/").URL(), qr.L)
	if err != nil {
		t.Fatal(err)
	}
	const side, module = 480, 6
	grey := image.NewGray(image.Rect(0, 0, side, side))
	edge := (side - code.Size*module) / 2
	screen := image.Rect(edge-20, edge-20, side-edge+20, side-edge+20)
	for y := range side {
		for x := range side {
			shade := byte(225)
			if !image.Pt(x, y).In(screen) {
				shade = byte(58 + y/12)
			} else if x >= edge && y >= edge && code.Black((x-edge)/module, (y-edge)/module) {
				shade = 30
			}
			grey.Pix[y*side+x] = shade
		}
	}
	return grey
}

// scale makes a pixel of the page one of the picture, on nothing.
func (p *tab) scale(size int64) {
	p.t.Helper()
	browser.Send(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: size, Height: size, DeviceScaleFactor: 1})
	browser.Send(p, emulation.SetDefaultBackgroundColorOverride, emulation.SetDefaultBackgroundColorOverrideParams{Color: &cdp.RGBA{}})
}

// installabilityErrors are the browser's own reasons not to offer to install.
func (p *tab) installabilityErrors() []string {
	p.t.Helper()
	var ids []string
	for _, e := range browser.Send(p, page.GetInstallabilityErrors, cdp.Empty{}).InstallabilityErrors {
		if e.ErrorID != "in-incognito" { // each test has a profile of that kind
			ids = append(ids, e.ErrorID)
		}
	}
	return ids
}
