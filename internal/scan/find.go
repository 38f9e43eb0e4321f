package scan

import (
	"cmp"
	"math"
	"slices"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode/detector"
)

const (
	// maxMarks, maxCorners and maxTriples bound what one picture may cost, which whoever
	// holds something before the camera chooses.
	maxMarks   = 1000
	maxCorners = 48
	maxTriples = 24
	// rowStep is how many rows of a picture are passed over; a corner has 7 modules.
	rowStep = 2
	// sizeRatio is how much larger the modules of one corner may seem than those of
	// another one: the camera is not held straight.
	sizeRatio = 1.4
)

// findCodes returns where codes may be, the likeliest first. The library's own search
// ends at the first three marks that look like corners, and about one code in 150 has
// such a mark in its data: that code was never read, at any size (zxing #897, #1763).
func findCodes(picture *gozxing.BitMatrix) []*detector.FinderPatternInfo {
	type triple struct {
		distortion float64
		corners    [3]*detector.FinderPattern
	}
	var triples []triple
	corners := findCorners(picture)
	for i, a := range corners {
		for j, b := range corners[:i] {
			for _, c := range corners[:j] {
				if d, ok := distortion(a, b, c); ok {
					triples = append(triples, triple{d, [3]*detector.FinderPattern{a, b, c}})
				}
			}
		}
	}
	slices.SortStableFunc(triples, func(a, b triple) int { return cmp.Compare(a.distortion, b.distortion) })
	var infos []*detector.FinderPatternInfo
	for _, t := range triples[:min(len(triples), maxTriples)] {
		// bl, tl, tr are finder patterns: the function returns its arguments.
		bl, tl, tr := gozxing.ResultPoint_OrderBestPatterns(t.corners[0], t.corners[1], t.corners[2])
		infos = append(infos, detector.NewFinderPatternInfo(bl.(*detector.FinderPattern), tl.(*detector.FinderPattern), tr.(*detector.FinderPattern)))
	}
	return infos
}

// findCorners returns the marks of the whole picture that look like a code's corner
// (ISO/IEC 18004, 6.3.3: dark and light in the ratio 1:1:3:1:1), those seen in most
// rows first.
func findCorners(picture *gozxing.BitMatrix) []*detector.FinderPattern {
	finder := detector.NewFinderPatternFinder(picture, nil)
	width := picture.GetWidth()
	for y := 0; y < picture.GetHeight() && len(finder.GetPossibleCenters()) < maxMarks; y += rowStep {
		var runs []int // of the row, dark first; a light row begins with 0
		dark, length := true, 0
		for x := range width + 1 {
			if x < width && picture.Get(x, y) == dark {
				length++
				continue
			}
			runs = append(runs, length)
			if n := len(runs); dark && n >= 5 && detector.FinderPatternFinder_foundPatternCross(runs[n-5:]) {
				finder.HandlePossibleCenter(runs[n-5:], y, x)
			}
			dark, length = !dark, 1
		}
	}
	corners := finder.GetPossibleCenters()
	slices.SortStableFunc(corners, func(a, b *detector.FinderPattern) int { return cmp.Compare(b.GetCount(), a.GetCount()) })
	return corners[:min(len(corners), maxCorners)]
}

// distortion says how far three marks are from half a square, relative to its size.
func distortion(a, b, c *detector.FinderPattern) (float64, bool) {
	sizes := []float64{a.GetEstimatedModuleSize(), b.GetEstimatedModuleSize(), c.GetEstimatedModuleSize()}
	if slices.Max(sizes) > sizeRatio*slices.Min(sizes) {
		return 0, false
	}
	sides := []float64{squared(a, b), squared(b, c), squared(a, c)}
	slices.Sort(sides)
	return (math.Abs(sides[2]-2*sides[1]) + math.Abs(sides[2]-2*sides[0])) / sides[2], sides[0] > 0
}

func squared(a, b *detector.FinderPattern) float64 {
	x, y := a.GetX()-b.GetX(), a.GetY()-b.GetY()
	return x*x + y*y
}
