package confusable

import "syscall/js"

// decompose is the canonical decomposition, NFD, by the browser's tables: Go's would
// make the app's download longer.
func decompose(s string) string { return normalize(s, "NFD") }

// compatible is the compatibility decomposition, NFKD: it has wide, circled and other
// letters by which the skeleton goes past.
func compatible(s string) string { return normalize(s, "NFKD") }

func normalize(s, form string) string {
	return js.Global().Get("String").New(s).Call("normalize", form).String()
}
