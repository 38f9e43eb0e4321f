package camera

import (
	"encoding/base64"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"net/url"
	"testing"

	"rsc.io/qr"

	"vmux/internal/device"
)

// invitation is one as `vmux pair` writes it, with a random device and secret.
func invitation(t testing.TB, random *rand.Rand) string {
	t.Helper()
	id := make([]byte, 52)
	for i := range id {
		id[i] = "abcdefghijklmnopqrstuvwxyz234567"[random.IntN(32)]
	}
	id[51] = "aq"[random.IntN(2)] // 256 bits end there
	secret := make([]byte, 32)
	for i := range secret {
		secret[i] = byte(random.Uint32())
	}
	base := []string{"https://vm.local:45189/", "https://hub.example/", "https://vmux.example.org:8443/phone/", "vmux://pair"}[random.IntN(4)]
	v := url.Values{"v": {"1"}, "d": {string(id)}, "s": {base64.RawURLEncoding.EncodeToString(secret)}}
	v.Set("n", []string{"vm", "laptop", "Anna’s MacBook Pro"}[random.IntN(3)])
	for range random.IntN(3) {
		v.Add("r", fmt.Sprintf("tcp:192.168.%d.%d:%d", random.IntN(256), random.IntN(256), 1024+random.IntN(60000)))
	}
	if base != "vmux://pair" {
		v.Add("r", "hub:"+base)
	}
	text := base + "#" + v.Encode()
	if _, err := device.ParseInvitation(text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return text
}

func encode(t testing.TB, text string) *qr.Code {
	t.Helper()
	code, err := qr.Encode(text, qr.L) // as the terminal's
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// clean draws a code as a screen shows it: so many pixels for each of its modules.
func clean(code *qr.Code, scale, quiet int, inverted bool) *image.Gray {
	side := (code.Size + 2*quiet) * scale
	p := image.NewGray(image.Rect(0, 0, side, side))
	for i := range p.Pix {
		if code.Black(i%side/scale-quiet, i/side/scale-quiet) == inverted {
			p.Pix[i] = 255
		}
	}
	return p
}

// photo draws a code as a camera sees it: from any direction, out of focus, in uneven
// light, with noise, and on a terminal with text around it.
func photo(code *qr.Code, random *rand.Rand) *image.Gray {
	between := func(low, high float64) float64 { return low + (high-low)*random.Float64() }
	side := []int{480, 640, 800}[random.IntN(3)]
	const quiet = 2
	modules := float64(code.Size + 2*quiet)
	module := between(3, min(7, 0.75*float64(side)/modules)) // in pixels, where it is nearest to the middle
	// The plane of the code: turned by any angle, then tilted about any axis.
	turn, axis, tilt := between(0, 2*math.Pi), between(0, 2*math.Pi), between(0, 35*math.Pi/180)
	right, down := tilted(turn, axis, tilt), tilted(turn+math.Pi/2, axis, tilt)
	normal := cross(right, down)
	focal := 1.2 * float64(side)
	middle := vector{between(-.08, .08) * float64(side) / module, between(-.08, .08) * float64(side) / module, focal / module}
	dark, light, ground := between(10, 60), between(150, 245), between(20, 200)
	letters := make([]bool, 97)
	for i := range letters {
		letters[i] = random.IntN(3) == 0
	}
	shade := func(x, y float64) float64 {
		ray := vector{x - float64(side)/2, y - float64(side)/2, focal}
		at := ray.times(dot(normal, middle) / dot(normal, ray)).minus(middle)
		u, v := dot(at, right)+modules/2, dot(at, down)+modules/2
		column, row := int(math.Floor(u)), int(math.Floor(v))
		switch {
		case u >= 0 && v >= 0 && u < modules && v < modules:
			if code.Black(column-quiet, row-quiet) {
				return dark
			}
			return light
		case row%4 != 0 && letters[((column*31+row/4*57)%97+97)%97]:
			return 255 - ground
		}
		return ground
	}
	picture := make([]float64, side*side)
	slope, brightest, darkest := between(0, 2*math.Pi), between(.85, 1.1), between(.35, .8)
	for i := range picture {
		x, y := float64(i%side), float64(i/side)
		sum := 0.0
		for _, part := range [4][2]float64{{.25, .25}, {.75, .25}, {.25, .75}, {.75, .75}} {
			sum += shade(x+part[0], y+part[1])
		}
		along := ((x-float64(side)/2)*math.Cos(slope)+(y-float64(side)/2)*math.Sin(slope))/float64(side) + .5
		picture[i] = sum / 4 * (darkest + (brightest-darkest)*along)
	}
	picture = blurred(picture, side, module*between(.1, .45))
	noise := between(1, 12)
	p := image.NewGray(image.Rect(0, 0, side, side))
	for i, v := range picture {
		p.Pix[i] = uint8(min(255, max(0, v+noise*random.NormFloat64())))
	}
	return p
}

type vector [3]float64

func (a vector) times(f float64) vector { return vector{a[0] * f, a[1] * f, a[2] * f} }
func (a vector) minus(b vector) vector  { return vector{a[0] - b[0], a[1] - b[1], a[2] - b[2]} }
func dot(a, b vector) float64           { return a[0]*b[0] + a[1]*b[1] + a[2]*b[2] }
func cross(a, b vector) vector {
	return vector{a[1]*b[2] - a[2]*b[1], a[2]*b[0] - a[0]*b[2], a[0]*b[1] - a[1]*b[0]}
}

// tilted is a direction in a plane that is tilted about an axis in it.
func tilted(direction, axis, tilt float64) vector {
	along, across := math.Cos(direction-axis), math.Sin(direction-axis)
	c, s := math.Cos(axis), math.Sin(axis)
	return vector{along*c - across*math.Cos(tilt)*s, along*s + across*math.Cos(tilt)*c, across * math.Sin(tilt)}
}

// blurred is a square picture after a Gaussian blur of a standard deviation in pixels.
func blurred(picture []float64, side int, deviation float64) []float64 {
	reach := int(math.Ceil(2.5 * deviation))
	kernel, sum := make([]float64, 2*reach+1), 0.0
	for i := range kernel {
		kernel[i] = math.Exp(-float64((i-reach)*(i-reach)) / (2 * deviation * deviation))
		sum += kernel[i]
	}
	for _, step := range []int{1, side} { // rows, then columns
		out := make([]float64, len(picture))
		for i := range out {
			at := i / step % side
			for k, weight := range kernel {
				n := min(side-1, max(0, at+k-reach))
				out[i] += weight / sum * picture[i+(n-at)*step]
			}
		}
		picture = out
	}
	return picture
}
