//go:build js && wasm

// Command vmux-qr-wasm reads QR codes for the web app, where the browser cannot.
package main

import (
	"errors"
	"syscall/js"

	"vmux/internal/scan"
)

// main exports one function of width, height and pixels. It returns an object
// with the text of a code, or with code and message of an error.
func main() {
	decode := js.FuncOf(func(_ js.Value, args []js.Value) any {
		pixels := make([]byte, args[2].Get("length").Int())
		js.CopyBytesToGo(pixels, args[2])
		text, err := scan.Decode(args[0].Int(), args[1].Int(), pixels)
		if err != nil {
			code := "noCode"
			if errors.Is(err, scan.ErrNoPicture) {
				code = "malformed"
			}
			return map[string]any{"code": code, "message": err.Error()}
		}
		return map[string]any{"text": text}
	})
	js.Global().Set("vmuxDecodeQR", decode)
	select {}
}
