package scan

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"rsc.io/qr"
)

// picture draws a code the way a screen shows it, with a quiet zone around.
func picture(t testing.TB, text string, scale int) (width, height int, pixels []byte) {
	t.Helper()
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		t.Fatal(err)
	}
	side := (code.Size + 8) * scale
	pixels = make([]byte, 4*side*side)
	for y := range side {
		for x := range side {
			v := byte(255)
			if code.Black(x/scale-4, y/scale-4) {
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
