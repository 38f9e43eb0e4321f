package camera

import (
	"bytes"
	"compress/gzip"
	"flag"
	"image"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

var full = flag.Bool("full", false, "read 5,000 clean codes and 500 photographs, in place of a few")

// Each invitation is read whatever its data looks like, at any size, dark on light and
// light on dark: readers that took the first three marks for a code's corners never read
// about one in 150 (zxing issues 897 and 1763).
func TestEachInvitationIsRead(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range howMany(350, 5000) / 50 {
		var texts []string
		var pictures []*image.Gray
		for i := range 50 {
			texts = append(texts, invitation(t, random))
			pictures = append(pictures, clean(encode(t, texts[i]), 2+i%7, 2+i%2*2, i%5 == 0))
		}
		for i, got := range Read(t, pictures...) {
			if got != texts[i] {
				t.Errorf("at %d pixels a module: %q is read as %q", 2+i%7, texts[i], got)
			}
		}
	}
}

// Photographs are turned, tilted, out of focus, unevenly lit and noisy, many more than a
// person would hold still for: a share of them is read at the first look, and none wrongly.
func TestPhotographs(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	n, read := howMany(20, 500), 0
	for range n / 10 {
		var texts []string
		var pictures []*image.Gray
		for i := range 10 {
			texts = append(texts, invitation(t, random))
			pictures = append(pictures, photo(encode(t, texts[i]), random))
		}
		for i, got := range Read(t, pictures...) {
			if got == texts[i] {
				read++
			} else if got != "" {
				t.Errorf("%q is read as %q", texts[i], got)
			}
		}
	}
	t.Logf("%d of %d", read, n)
	if read < n*2/5 {
		t.Errorf("only %d of %d are read", read, n)
	}
}

func howMany(few, all int) int {
	if *full {
		return all
	}
	return few
}

// Pictures without a code have none, also one that is full of what looks like corners.
func TestPicturesWithoutCode(t *testing.T) {
	black, noise, corners := image.NewGray(image.Rect(0, 0, 64, 64)), image.NewGray(image.Rect(0, 0, 64, 64)), image.NewGray(image.Rect(0, 0, 800, 800))
	random := rand.New(rand.NewPCG(5, 6))
	for i := range noise.Pix {
		noise.Pix[i] = byte(random.Uint32())
	}
	for i := range corners.Pix {
		if layer := max(abs(i%800%8-3), abs(i/800%8-3)); layer != 1 && layer != 3 {
			corners.Pix[i] = 255
		}
	}
	for i, got := range Read(t, black, noise, corners) {
		if got != "" {
			t.Errorf("picture %d: %q", i, got)
		}
	}
}

func abs(n int) int { return max(n, -n) }

// What the app serves is the library as npm has it, whose integrity test/npm pins, with
// its licence; and it is small, compressed as a hub does.
func TestLibraryIsNpms(t *testing.T) {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"decode.js", "index.js", "LICENSE-MIT"} {
		ours, err := os.ReadFile(filepath.Join("../../web/phone/static/qr", name))
		if err != nil {
			t.Fatal(err)
		}
		npms, err := os.ReadFile(filepath.Join("../../.cache/npm/node_modules/qr", name))
		if err != nil {
			t.Fatalf("%v: run make setup", err)
		}
		if !bytes.Equal(ours, npms) {
			t.Errorf("%s is not npm's", name)
		}
		if _, err := z.Write(ours); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if packed.Len() > 60_000 {
		t.Errorf("the reader is %d bytes, compressed", packed.Len())
	}
}
