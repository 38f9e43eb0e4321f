//go:build !js

package confusable

import "golang.org/x/text/unicode/norm"

// decompose is the canonical decomposition, NFD.
func decompose(s string) string { return norm.NFD.String(s) }
