package scan

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"rsc.io/qr"
)

// picture draws a code the way a screen shows it, with a quiet zone around.
func picture(t testing.TB, text string, scale int) (width, height int, pixels []byte) {
	t.Helper()
	return drawn(t, text, qr.M, scale, 4)
}

func drawn(t testing.TB, text string, level qr.Level, scale, quiet int) (width, height int, pixels []byte) {
	t.Helper()
	code, err := qr.Encode(text, level)
	if err != nil {
		t.Fatal(err)
	}
	side := (code.Size + 2*quiet) * scale
	pixels = make([]byte, 4*side*side)
	for y := range side {
		for x := range side {
			v := byte(255)
			if code.Black(x/scale-quiet, y/scale-quiet) {
				v = 0
			}
			copy(pixels[4*(y*side+x):], []byte{v, v, v, 255})
		}
	}
	return side, side, pixels
}

func TestInvitationIsRead(t *testing.T) {
	text := "https://hub.example/#d=" + strings.Repeat("a2", 26) + "&n=laptop&r=hub%3Ahttps%3A%2F%2Fhub.example&s=" +
		strings.Repeat("x", 43) + "&v=1"
	for _, scale := range []int{2, 3, 7} {
		width, height, pixels := picture(t, text, scale)
		if got, err := Decode(width, height, pixels); err != nil || got != text {
			t.Errorf("scale %d: %q, %v", scale, got, err)
		}
	}
}

// Each invitation is read, whatever its data looks like: as the terminal shows it, at
// any size, dark on light and light on dark. The library's own search never finds
// about one in 150 of these.
func TestEveryInvitationIsRead(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	letters := func(n int) string {
		text := make([]byte, n)
		for i := range text {
			text[i] = "abcdefghijklmnopqrstuvwxyz234567"[random.IntN(32)]
		}
		return string(text)
	}
	for i := range 1000 {
		text := "https://vm.local:45189/#d=" + letters(52) + "&n=vm&r=lan%3A127.0.0.1%3A34567&r=hub%3Ahttps%3A%2F%2Fvm.local%3A45189&s=" + letters(43) + "&v=1"
		width, height, pixels := drawn(t, text, qr.L, 2+i%4, 2)
		if i%10 == 0 {
			for p := range pixels {
				if p%4 != 3 { // all but alpha
					pixels[p] = 255 - pixels[p]
				}
			}
		}
		if got, err := Decode(width, height, pixels); err != nil || got != text {
			t.Errorf("invitation %d, scale %d: %q, %v", i, 2+i%4, got, err)
		}
	}
}

// A picture full of what looks like a code's corners is not looked at for ever: three
// of ten thousand are more than a phone can try.
func TestPictureOfCorners(t *testing.T) {
	const side, corner = 800, 8
	pixels := bytes.Repeat([]byte{255}, 4*side*side)
	for y := range side {
		for x := range side {
			if ring := max(abs(x%corner-3), abs(y%corner-3)); ring <= 1 || ring == 3 {
				copy(pixels[4*(y*side+x):], []byte{0, 0, 0})
			}
		}
	}
	if text, err := Decode(side, side, pixels); !errors.Is(err, ErrNoCode) {
		t.Errorf("%q, %v", text, err)
	}
}

func abs(n int) int { return max(n, -n) }

func TestPicturesWithoutCode(t *testing.T) {
	noise := make([]byte, 4*64*64)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for name, pixels := range map[string][]byte{"black": make([]byte, 4*64*64), "noise": noise} {
		if text, err := Decode(64, 64, pixels); !errors.Is(err, ErrNoCode) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	for _, size := range [][2]int{{0, 0}, {-1, 4}, {64, 65}, {1 << 40, 1 << 40}, {1, 1 << 30}} {
		if _, err := Decode(size[0], size[1], noise); !errors.Is(err, ErrNoPicture) {
			t.Errorf("%v: %v", size, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	_, _, pixels := picture(f, "vmux", 2)
	f.Add(uint8(58), pixels)
	f.Fuzz(func(_ *testing.T, width uint8, pixels []byte) {
		if width > 0 {
			height := len(pixels) / 4 / int(width)
			_, _ = Decode(int(width), height, pixels[:4*int(width)*height])
		}
	})
}
