package tray

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"strconv"

	"vmux/internal/control"
)

// Icon is what the icon tells: by its shape, since not everybody tells colours apart,
// and menu bars have one colour.
type Icon struct {
	Shape Shape
	Count int // of Waiting: how many wait
}

// Shape is the icon's.
type Shape int

// The shapes.
const (
	NotConnected Shape = iota // a phone's outline, struck through
	Connected                 // a filled phone
	Waiting                   // a phone with a number on it
	Locked                    // a padlock
)

// IconFor is the icon for a status, nil while no agent answers. What waits comes first: it
// alone wants a person.
func IconFor(s *control.Status) Icon {
	switch {
	case s == nil:
		return Icon{}
	case len(s.Waiting) > 0:
		return Icon{Waiting, len(s.Waiting)}
	case s.Locked:
		return Icon{Shape: Locked}
	case s.Connected:
		return Icon{Shape: Connected}
	}
	return Icon{}
}

// iconSize is the icon's width and height in pixels: panels make it smaller.
const iconSize = 64

// PNG draws the icon: white in a dark border, to be seen on light and dark panels alike,
// or as a template, which macOS colours itself.
func (i Icon) PNG(template bool) []byte {
	picture := image.NewNRGBA(image.Rect(0, 0, iconSize, iconSize))
	const border = 3
	shape := i.shape()
	for y := range iconSize {
		for x := range iconSize {
			d := shape(float64(x)+0.5, float64(y)+0.5)
			inside, bordered := coverage(d), coverage(d-border)
			c := color.NRGBA{A: uint8(255 * inside)}
			if !template && bordered > 0 {
				light := uint8(32 + (255-32)*inside/bordered)
				c = color.NRGBA{light, light, light, uint8(255 * bordered)}
			}
			picture.SetNRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

// coverage is how much of a pixel lies inside a shape, by its distance from the edge.
func coverage(distance float64) float64 { return min(1, max(0, 0.5-distance)) }

// area tells how far a point is from the edge of a shape; inside it is negative.
type area func(x, y float64) float64

func (i Icon) shape() area {
	phone := box(32, 32, 18, 28, 7)
	screen := box(32, 28, 12, 18, 2)
	switch i.Shape {
	case Connected:
		return without(phone, box(32, 53, 5, 1.5, 1.5)) // its home bar
	case Waiting:
		return without(phone, number(i.Count))
	case Locked:
		shackle := without(box(32, 24, 15, 19, 15), box(32, 24, 8, 12, 8))
		body := without(box(32, 43, 23, 17, 5), union(box(32, 40, 4, 4, 4), box(32, 46, 2, 6, 1)))
		return union(without(shackle, box(32, 45, 32, 20, 0)), body)
	}
	return union(without(without(phone, screen), stroke(6, 54, 58, 10, 9)), stroke(6, 54, 58, 10, 3.5))
}

// number is what waits, on the phone: two signs at most.
func number(count int) area {
	text := strconv.Itoa(count)
	if count > 9 {
		text = "9+"
	}
	signs := func(float64, float64) float64 { return math.Inf(1) }
	const dot = 7.0
	width := dot
	if len(text) > 1 {
		width = 4.4
	}
	for n, sign := range text {
		left := 32 + (float64(n)-float64(len(text))/2)*4*width + width/2
		for row, bits := range font[sign] {
			for column := range 3 {
				if bits&(4>>column) != 0 {
					signs = union(signs, box(left+(float64(column)+0.5)*width, 32+(float64(row)-2)*dot, width/2, dot/2, 0))
				}
			}
		}
	}
	return signs
}

// font has three columns and five rows for each sign.
var font = map[rune][5]uint8{
	'1': {2, 6, 2, 2, 7}, '2': {7, 1, 7, 4, 7}, '3': {7, 1, 7, 1, 7}, '4': {5, 5, 7, 1, 1}, '5': {7, 4, 7, 1, 7},
	'6': {7, 4, 7, 5, 7}, '7': {7, 1, 2, 2, 2}, '8': {7, 5, 7, 5, 7}, '9': {7, 5, 7, 1, 7}, '+': {0, 2, 7, 2, 0},
}

// box is a rectangle around a point, by half its width and height, with round corners.
func box(cx, cy, w, h, round float64) area {
	return func(x, y float64) float64 {
		dx, dy := math.Abs(x-cx)-w+round, math.Abs(y-cy)-h+round
		return math.Hypot(max(dx, 0), max(dy, 0)) + min(max(dx, dy), 0) - round
	}
}

// stroke is a line from one point to another, by half its width.
func stroke(x1, y1, x2, y2, w float64) area {
	return func(x, y float64) float64 {
		vx, vy := x2-x1, y2-y1
		along := min(1, max(0, ((x-x1)*vx+(y-y1)*vy)/(vx*vx+vy*vy)))
		return math.Hypot(x-x1-along*vx, y-y1-along*vy) - w
	}
}

func union(a, b area) area {
	return func(x, y float64) float64 { return min(a(x, y), b(x, y)) }
}

func without(a, b area) area {
	return func(x, y float64) float64 { return max(a(x, y), -b(x, y)) }
}
