package confusable

import "syscall/js"

// decompose is the canonical decomposition, NFD, by the browser's tables: Go's would
// make the app's download longer.
func decompose(s string) string {
	return js.Global().Get("String").New(s).Call("normalize", "NFD").String()
}
