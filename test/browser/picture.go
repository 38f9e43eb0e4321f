package browser

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/chromedp/chromedp"
)

// SavePNG writes a picture with 256 colours: a third of the size, and what an
// interface looks like needs no more.
func SavePNG(t TB, path string, img image.Image) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatalf("%v", err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer f.Close()
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(f, withFewColours(img)); err != nil {
		t.Fatalf("%v", err)
	}
}

// withFewColours keeps the colours that are there most often, and takes the
// nearest of these for the others.
func withFewColours(img image.Image) *image.Paletted {
	often := map[color.Color]int{}
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			often[img.At(x, y)]++
		}
	}
	palette := slices.SortedFunc(maps.Keys(often), func(a, b color.Color) int {
		return cmp.Or(cmp.Compare(often[b], often[a]), cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	few := image.NewPaletted(b, palette[:min(256, len(palette))])
	index := map[color.Color]uint8{}
	for c := range often {
		index[c] = uint8(few.Palette.Index(c))
	}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			few.SetColorIndex(x, y, index[img.At(x, y)])
		}
	}
	return few
}

// Camera is the flag that has Chromium's camera see a picture, of an even number of
// pixels each way. It is kept in dir.
func Camera(t TB, dir string, grey *image.Gray) chromedp.ExecAllocatorOption {
	t.Helper()
	size := grey.Bounds().Size()
	film := fmt.Appendf(nil, "YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420jpeg\nFRAME\n", size.X, size.Y)
	film = append(append(film, grey.Pix...), bytes.Repeat([]byte{128}, size.X*size.Y/2)...) // no colour
	path := filepath.Join(dir, "camera.y4m")
	if err := os.WriteFile(path, film, 0o600); err != nil {
		t.Fatalf("%v", err)
	}
	return chromedp.Flag("use-file-for-fake-video-capture", path)
}
