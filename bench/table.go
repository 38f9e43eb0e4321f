package main

import (
	"fmt"
	"io"
	"slices"
)

// row compares vmux with a yardstick by paired rounds.
type row struct {
	what, yardstick string
	unit            unit
	vmux, other     []float64 // one value for each round
	target          target
}

// target is a bound for the ratio of vmux to the yardstick. Without one a row
// is only told.
type target struct {
	bound  float64
	atMost bool
}

func atMost(bound float64) target  { return target{bound, true} }
func atLeast(bound float64) target { return target{bound, false} }

type unit func(float64) string

func perSecond(v float64) string { return fmt.Sprintf("%.0f/s", v) }
func mebibytes(v float64) string { return fmt.Sprintf("%.1f MiB", v/(1<<20)) }
func megabytes(v float64) string { return fmt.Sprintf("%.3g MB", v/1e6) }

func seconds(v float64) string {
	switch {
	case v < 1e-3:
		return fmt.Sprintf("%.1f µs", v*1e6)
	case v < 1:
		return fmt.Sprintf("%.2f ms", v*1e3)
	}
	return fmt.Sprintf("%.2f s", v)
}

// ratios are those of the rounds, sorted.
func (r row) ratios() []float64 {
	ratios := make([]float64, len(r.vmux))
	for i := range ratios {
		ratios[i] = r.vmux[i] / r.other[i]
	}
	slices.Sort(ratios)
	return ratios
}

func (r row) verdict(ratio float64) (wanted, met string) {
	if r.target.bound == 0 {
		return "", ""
	}
	sign, good := "≥", ratio >= r.target.bound
	if r.target.atMost {
		sign, good = "≤", ratio <= r.target.bound
	}
	met = "no"
	if good {
		met = "yes"
	}
	return fmt.Sprintf("%s %g", sign, r.target.bound), met
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// table prints each row as soon as it is measured: a run that is cut off has shown what it has.
type table struct {
	out    io.Writer
	missed int
}

// Widths of the columns: of the longest of what is measured and its figures.
const columns = "%-72s  %-10s  %-28s  %-10s  %-6s  %-13s  %-6s  %s\n"

func newTable(out io.Writer) *table {
	fmt.Fprintln(out, "ratio: vmux to the yardstick, median of the paired rounds; spread: least and greatest")
	fmt.Fprintf(out, columns, "what", "vmux", "yardstick", "", "ratio", "spread", "target", "met")
	return &table{out: out}
}

// note says something about the rows before or after it.
func (t *table) note(format string, args ...any) { fmt.Fprintf(t.out, "  "+format+"\n", args...) }

func (t *table) add(r row) {
	ratios := r.ratios()
	ratio := ratios[len(ratios)/2]
	wanted, met := r.verdict(ratio)
	if met == "no" {
		t.missed++
	}
	fmt.Fprintf(t.out, columns, r.what, r.unit(median(r.vmux)), r.yardstick, r.unit(median(r.other)),
		fmt.Sprintf("%.2f", ratio), fmt.Sprintf("%.2f–%.2f", ratios[0], ratios[len(ratios)-1]), wanted, met)
}

// within adds a row for what is compared with nothing but a bound.
func (t *table) within(what string, u unit, values []float64, bound float64) {
	t.add(row{what, "bound", u, values, slices.Repeat([]float64{bound}, len(values)), atMost(1)})
}

func (t *table) end() { fmt.Fprintf(t.out, "%d of the targets missed\n", t.missed) }
