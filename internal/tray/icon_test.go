package tray

import (
	"bytes"
	"image"
	"image/png"
	"testing"
)

// mask is what the icon looks like in a panel of 16 pixels without colours: where it is
// light.
func mask(t *testing.T, i Icon, template bool) (m [16][16]bool) {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(i.PNG(template)))
	if err != nil || picture.Bounds() != image.Rect(0, 0, iconSize, iconSize) {
		t.Fatalf("%v, %v", err, picture.Bounds())
	}
	const step = iconSize / 16
	for y := range iconSize {
		for x := range iconSize {
			r, _, _, a := picture.At(x, y).RGBA()
			if x%step == step/2 && y%step == step/2 {
				m[y/step][x/step] = a > 0x8000 && (template || r > 0x8000)
			}
		}
	}
	return m
}

// differ counts the pixels that are not alike.
func differ(a, b [16][16]bool) (n int) {
	for y := range a {
		for x := range a[y] {
			if a[y][x] != b[y][x] {
				n++
			}
		}
	}
	return n
}

// Each state is told by the shape, without colours and at the size of a panel.
func TestShapesDiffer(t *testing.T) {
	icons := []Icon{{}, {Shape: Connected}, {Shape: Locked}}
	for n := range 10 {
		icons = append(icons, Icon{Waiting, n + 1})
	}
	for _, template := range []bool{false, true} {
		var masks [][16][16]bool
		for _, i := range icons {
			masks = append(masks, mask(t, i, template))
			for before, other := range masks[:len(masks)-1] {
				if n := differ(masks[len(masks)-1], other); n < 2 {
					t.Errorf("%+v and %+v differ by %d of 256 pixels (template: %v)", i, icons[before], n, template)
				}
			}
		}
	}
	if !bytes.Equal(Icon{Waiting, 10}.PNG(false), Icon{Waiting, 100}.PNG(false)) {
		t.Error("more than nine are not told alike")
	}
}
