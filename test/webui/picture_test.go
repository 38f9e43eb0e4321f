package webui

import (
	"bytes"
	"fmt"
	"image/png"
	"os"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"rsc.io/qr"

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

// film writes what the browser's camera sees: a QR code on a screen.
func film(t *testing.T, path string) string {
	t.Helper()
	code, err := qr.Encode("https://hub.example.org/#v=1&d=mq7xw3ytbh5cfdgja2ses4lkpvo6iunrq7mba6rri5lnou2v2k4z&n=studio&s=none", qr.L)
	if err != nil {
		t.Fatal(err)
	}
	const width, height, module = 480, 480, 7
	var frame bytes.Buffer
	edge := (width - code.Size*module) / 2
	for y := range height {
		for x := range width {
			switch inside := x >= edge-20 && y >= edge-20 && x < width-edge+20 && y < height-edge+20; {
			case !inside:
				frame.WriteByte(byte(58 + y/12)) // the room
			case x >= edge && y >= edge && code.Black((x-edge)/module, (y-edge)/module):
				frame.WriteByte(30)
			default:
				frame.WriteByte(225)
			}
		}
	}
	frame.Write(bytes.Repeat([]byte{128}, width*height/2)) // no colour
	var out bytes.Buffer
	fmt.Fprintf(&out, "YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420jpeg\n", width, height)
	for range 5 {
		out.WriteString("FRAME\n")
		out.Write(frame.Bytes())
	}
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
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
