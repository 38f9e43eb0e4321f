// Package scan reads QR codes from pictures of a camera. It is a program of its own
// in the web app, loaded when the first code is to be read.
package scan

import (
	"errors"
	"fmt"
	"image"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode/decoder"
	"github.com/makiuchi-d/gozxing/qrcode/detector"
)

// maxPixels bounds a picture of the camera.
const maxPixels = 4096 * 4096

// Errors of Decode.
var (
	ErrNoPicture = errors.New("not a picture")
	ErrNoCode    = errors.New("no QR code was found")
)

// Decode returns the text of the QR code in a picture: its pixels in rows from
// the top, four bytes each, red, green, blue and alpha. A picture without one is
// ErrNoCode.
func Decode(width, height int, pixels []byte) (text string, err error) {
	defer func() {
		if r := recover(); r != nil { // whoever holds something before a camera chooses the input
			text, err = "", fmt.Errorf("%w: %v", ErrNoCode, r)
		}
	}()
	if width <= 0 || height <= 0 || width > maxPixels/height || len(pixels) != 4*width*height {
		return "", ErrNoPicture
	}
	picture := &image.NRGBA{Pix: pixels, Stride: 4 * width, Rect: image.Rect(0, 0, width, height)}
	source := gozxing.NewLuminanceSourceFromImage(picture)
	for _, binarizer := range []gozxing.Binarizer{gozxing.NewHybridBinarizer(source), gozxing.NewGlobalHistgramBinarizer(source)} {
		if text, ok := read(binarizer); ok {
			return text, nil
		}
	}
	return "", ErrNoCode
}

// read looks for a code in black and white: dark on light, then light on dark, as a
// terminal with dark letters on a light ground shows it.
func read(binarizer gozxing.Binarizer) (string, bool) {
	picture, err := binarizer.GetBlackMatrix()
	if err != nil {
		return "", false
	}
	for range 2 {
		for _, corners := range findCodes(picture) {
			grid, err := detector.NewDetector(picture).ProcessFinderPatternInfo(corners)
			if err != nil {
				continue
			}
			if result, err := decoder.NewDecoder().Decode(grid.GetBits(), nil); err == nil {
				return result.GetText(), true
			}
		}
		picture.FlipAll()
	}
	return "", false
}
