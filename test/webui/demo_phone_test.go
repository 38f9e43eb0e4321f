package webui

import (
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"html"
	"image"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"vmux/internal/sshdtest"
	"vmux/test/browser"
	"vmux/test/camera"
)

// The demonstration with a phone of the same network, from scratch: its camera
// reads both codes from the terminal, it is told to trust the hub as the page
// says that Chromium is, and then it has passkeys at that name. The phone is a
// Chromium with a home of its own, which finds the computer's name by itself.
func TestDemoPhone(t *testing.T) {
	t.Parallel()
	programs, _ := desktop(t, sshdtest.New(t))
	d := startDemo(t, programs, "--phone")
	d.says("Press Enter when that is done")
	install := scanned(t, d.code())
	if install != d.says(`or open (http://\S+) there,$`) {
		t.Errorf("the code says %s", install)
	}
	phone := &handset{t: t, home: t.TempDir(), host: strings.Split(strings.TrimPrefix(install, "http://"), ":")[0]}
	phone.trust(install, d.says(`SHA-256 fingerprint:\n +([0-9A-F ]+\n[0-9A-F ]+)\n`))
	if _, err := d.keys.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	d.says("waiting for the page to be paired")
	p := d.openPage(phone.start(d.code()), d.says(`open (https://\S+)$`))
	p.Wants("Your SSH keys, on this phone")
	p.Tap("Pair a computer")
	d.byHand(p, true)
}

// handset is a browser that is nothing but a phone's.
type handset struct {
	t          *testing.T
	home, host string
}

// start starts it, its camera before a code.
func (h *handset) start(code [][]bool) *browser.Chromium {
	h.t.Helper()
	return browser.StartChromium(h.t, chromedp.Env("HOME="+h.home),
		chromedp.Flag("host-resolver-rules", "MAP "+h.host+" 127.0.0.1"), browser.Camera(h.t, h.home, shown(code, 8)))
}

// trust follows the page about the hub's certificate, after comparing.
func (h *handset) trust(install, fingerprint string) {
	h.t.Helper()
	root, err := h.fetch(install, "/ca.pem")
	if err != nil {
		h.t.Fatal(err)
	}
	page, err := h.fetch(install, "/install-ca")
	if err != nil {
		h.t.Fatal(err)
	}
	block, _ := pem.Decode(root)
	if sum := fmt.Sprintf("% X", sha256.Sum256(block.Bytes)); sum != strings.Join(strings.Fields(fingerprint), " ") {
		h.t.Errorf("the computer shows the fingerprint %s, it is %s", fingerprint, sum)
	}
	if err := os.WriteFile(filepath.Join(h.home, "vmux-hub-ca.pem"), root, 0o600); err != nil {
		h.t.Fatal(err)
	}
	command := html.UnescapeString(regexp.MustCompile(`certutil -d .*\.pem`).FindString(string(page)))
	script := "mkdir -p .pki/nssdb && certutil -d sql:.pki/nssdb -N --empty-password && " + command
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir, cmd.Env = h.home, append(os.Environ(), "HOME="+h.home)
	if out, err := cmd.CombinedOutput(); err != nil || command == "" {
		h.t.Fatalf("%s: %v: run `make setup`\n%s", command, err, out)
	}
}

// fetch gets a file of the hub's from where it is before the hub is trusted.
func (h *handset) fetch(install, path string) ([]byte, error) {
	u, err := url.Parse(install)
	if err != nil {
		return nil, err
	}
	answer, err := http.Get("http://127.0.0.1:" + u.Port() + path)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}

// code is the last QR code on the terminal: rows of light and dark.
func (d *demo) code() (rows [][]bool) {
	d.t.Helper()
	drawn := regexp.MustCompile(`^[█▀▄ ]{20,}$`)
	inside := false
	for line := range strings.Lines(d.text()) {
		line = strings.TrimSuffix(line, "\n")
		if !drawn.MatchString(line) {
			inside = false
			continue
		}
		if !inside {
			rows, inside = nil, true
		}
		var upper, lower []bool
		for _, c := range line {
			upper, lower = append(upper, c == '█' || c == '▀'), append(lower, c == '█' || c == '▄')
		}
		rows = append(rows, upper, lower)
	}
	if rows == nil {
		d.t.Fatal("there is no code on the terminal")
	}
	return rows
}

// shown is the code as a picture, so many pixels for each of its own.
func shown(rows [][]bool, scale int) *image.Gray {
	grey := image.NewGray(image.Rect(0, 0, len(rows[0])*scale, len(rows)*scale))
	for i := range grey.Pix {
		grey.Pix[i] = 16
		if rows[i/grey.Stride/scale][i%grey.Stride/scale] {
			grey.Pix[i] = 235
		}
	}
	return grey
}

// scanned reads a code as a phone's camera does.
func scanned(t *testing.T, rows [][]bool) string {
	t.Helper()
	text := camera.Read(t, shown(rows, 4))[0]
	if text == "" {
		t.Fatal("the code cannot be read")
	}
	return text
}
