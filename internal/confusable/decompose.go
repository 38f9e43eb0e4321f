//go:build !js

package confusable

import "golang.org/x/text/unicode/norm"

// decompose is the canonical decomposition, NFD.
func decompose(s string) string { return norm.NFD.String(s) }

// compatible is the compatibility decomposition, NFKD: it has wide, circled and other
// letters by which the skeleton goes past.
func compatible(s string) string { return norm.NFKD.String(s) }
