//go:build js && wasm

// Command vmux-phone-wasm is the phone in a browser: package browserphone, with what
// the page's module core.js gives it of the browser. It runs in a page, exports
// one object, and is of no use elsewhere.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"syscall/js"

	"vmux/internal/browserphone"
	"vmux/internal/device"
)

// main exports start, which core.js calls once, and never ends: the page does.
func main() {
	js.Global().Set("vmuxStart", js.FuncOf(func(_ js.Value, args []js.Value) any {
		return promise(func() (any, error) { return start(args[0]) })
	}))
	select {}
}

// start opens the phone and returns what the page may call. The host is core.js's
// own object; its fields are listed there.
func start(host js.Value) (any, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	key, err := deviceKey(host.Get("key"))
	if err != nil {
		return nil, err
	}
	phone, err := browserphone.New(browserphone.Config{
		Store: newStore(host), Key: key, Log: log,
		HubURL: host.Get("hubURL").String(), Origin: host.Get("origin").String(), Host: host.Get("hostname").String(),
		Secure: host.Get("secure").Bool(), Version: host.Get("version").String(), Name: host.Get("name").String(),
		Emit: emitter(host), Wipe: func() error { _, err := await(host.Call("wipe")); return err },
		GenerateRSA: generateRSA, Now: now,
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		if err := phone.Run(ctx); err != nil {
			log.Error("the phone has stopped", "err", err)
		}
	}()
	return exports(phone, stop), nil
}

// emitter passes events to the page: it comes to them when this program waits.
func emitter(host js.Value) func(event string, payload any) {
	emit := host.Get("emit")
	return func(event string, payload any) {
		b, err := json.Marshal(payload)
		if err == nil {
			emit.Invoke(event, string(b))
		}
	}
}

// exports are the functions that the page calls for as long as it lives, so
// that nothing of them is ever released.
func exports(phone *browserphone.Phone, stop func()) js.Value {
	o := js.Global().Get("Object").New()
	// stop leaves the hub, for another page of this phone to be there.
	o.Set("stop", js.FuncOf(func(js.Value, []js.Value) any {
		stop()
		return nil
	}))
	o.Set("call", js.FuncOf(func(_ js.Value, args []js.Value) any {
		name, text := args[0].String(), args[1].String()
		secrets := secretsOf(args[2:])
		return promise(func() (any, error) {
			result, err := phone.Call(context.Background(), name, []byte(text), secrets...)
			if err != nil {
				return nil, err
			}
			b, err := json.Marshal(result)
			return string(b), err
		})
	}))
	// prepare answers at once: a tap that waits is none.
	o.Set("prepare", js.FuncOf(func(_ js.Value, args []js.Value) any {
		plan, err := phone.Prepare(args[0].String(), []byte(args[1].String()), secretsOf(args[2:])...)
		var answer struct {
			browserphone.Plan
			Error *browserphone.Error `json:"error,omitempty"`
		}
		if answer.Plan = plan; err != nil {
			answer.Error = browserphone.AsError(err)
		}
		b, err := json.Marshal(answer)
		if err != nil {
			return `{"error":{"code":"internalError","message":"vmux could not write its answer."}}`
		}
		return string(b)
	}))
	return o
}

// secretsOf copies Uint8Arrays, which the page wipes. Call and Prepare wipe the copies.
func secretsOf(args []js.Value) (secrets [][]byte) {
	for _, a := range args {
		secrets = append(secrets, bytesOf(a))
	}
	return secrets
}

// promise runs f in a goroutine of its own, since the page's event loop stands
// still while a function called from it runs.
func promise(f func() (any, error)) js.Value {
	var executor js.Func
	executor = js.FuncOf(func(_ js.Value, args []js.Value) any {
		resolve, reject := args[0], args[1]
		go func() {
			defer executor.Release()
			result, err := guarded(f)
			if err != nil {
				b, _ := json.Marshal(browserphone.AsError(err))
				reject.Invoke(js.Global().Get("JSON").Call("parse", string(b)))
				return
			}
			resolve.Invoke(result)
		}()
		return nil
	})
	return js.Global().Get("Promise").New(executor)
}

// guarded keeps one function's mistake from ending the program, and with it
// what else waits.
func guarded(f func() (any, error)) (result any, err error) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(os.Stderr, "panic: %v\n%s", r, debug.Stack())
			err = &browserphone.Error{Code: "internalError", Message: "vmux made a mistake.", Hint: "Reload the page."}
		}
	}()
	return f()
}

// await waits for a promise.
func await(p js.Value) (js.Value, error) {
	type settled struct {
		value js.Value
		err   error
	}
	done := make(chan settled, 1)
	then := js.FuncOf(func(_ js.Value, args []js.Value) any {
		done <- settled{value: args[0]}
		return nil
	})
	defer then.Release()
	caught := js.FuncOf(func(_ js.Value, args []js.Value) any {
		done <- settled{err: asError(args[0])}
		return nil
	})
	defer caught.Release()
	p.Call("then", then, caught)
	s := <-done
	return s.value, s.err
}

// asError keeps the name and message of what a promise was rejected with, and the
// page's own errors as they are: a browser's have numbers as codes.
func asError(reason js.Value) error {
	if reason.Type() != js.TypeObject {
		return errors.New("the browser gave no reason")
	}
	if code := reason.Get("code"); code.Type() == js.TypeString {
		e := &browserphone.Error{Code: code.String(), Message: reason.Get("message").String()}
		if hint := reason.Get("hint"); hint.Type() == js.TypeString {
			e.Hint = hint.String()
		}
		return e
	}
	return fmt.Errorf("%s: %s", reason.Get("name").String(), reason.Get("message").String())
}

// bytesOf copies a Uint8Array or Uint8ClampedArray.
func bytesOf(array js.Value) []byte {
	b := make([]byte, array.Get("length").Int())
	js.CopyBytesToGo(b, array)
	return b
}

// arrayOf copies bytes into a new Uint8Array.
func arrayOf(b []byte) js.Value {
	array := js.Global().Get("Uint8Array").New(len(b))
	js.CopyBytesToJS(array, b)
	return array
}

func deviceKey(key js.Value) (*device.Key, error) {
	s, err := newWebKey(key)
	if err != nil {
		return nil, err
	}
	return device.FromSigner(s)
}
