package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"

	"vmux/internal/state"
)

// shortPassphrase is below what ssh-keygen accepts.
const shortPassphrase = 5

// Passphrase returns the secret from the file, or asks for it on the terminal;
// twice if it is a new one. The caller wipes it.
func (o *IO) Passphrase(ctx context.Context, path, prompt string, fresh bool) ([]byte, error) {
	switch path {
	case "":
		return o.typed(ctx, prompt, fresh)
	case "-":
		secret, err := state.ParseSecret(o.Input(ctx))
		return o.longEnough(secret, fresh), OrHint(err, "one line with the passphrase on standard input")
	}
	secret, err := state.ReadSecret(path)
	return o.longEnough(secret, fresh), WrongFile(err, "--passphrase-file FILE with one line, or without it to be asked")
}

// longEnough warns of a new passphrase that a program wrote down: whoever is
// asked for one is told to take another.
func (o *IO) longEnough(secret []byte, fresh bool) []byte {
	if fresh && len(secret) > 0 && len(secret) < shortPassphrase {
		o.Say("the passphrase is very short: whoever copies the key file guesses it at once")
	}
	return secret
}

func (o *IO) typed(ctx context.Context, prompt string, fresh bool) ([]byte, error) {
	in, ok := Terminal(o.In)
	if !ok {
		return nil, WithHint(fmt.Errorf("there is no terminal to ask on: %s", prompt), "--passphrase-file FILE")
	}
	first, err := o.Hidden(ctx, in, prompt)
	if err != nil || !fresh {
		return first, err
	}
	if len(first) == 0 {
		return nil, WithHint(errors.New("the passphrase is empty"), "run it again and type one")
	}
	if len(first) < shortPassphrase {
		clear(first)
		return nil, WithHint(fmt.Errorf("the passphrase is too short: at least %d characters, as for ssh-keygen", shortPassphrase), "run it again and type a longer one")
	}
	if bytes.ContainsRune(first, '\x1b') { // which a sheet's question leaves out
		clear(first)
		return nil, WithHint(errors.New("the passphrase has a key that is no character, such as an arrow"), "run it again and type characters alone; pasting may add such")
	}
	second, err := o.Hidden(ctx, in, "The same again")
	defer clear(second)
	if err == nil && string(first) != string(second) {
		err = WithHint(errors.New("the two are not the same"), "run it again")
	}
	if err != nil {
		clear(first)
		return nil, err
	}
	return first, nil
}

// Hidden reads a line without showing it. A signal such as ^C ends it at once,
// and leaves the terminal as it was: the read goes on until the process ends,
// which is soon.
func (o *IO) Hidden(ctx context.Context, in *os.File, prompt string) ([]byte, error) {
	// Taken once: whoever closes the file meanwhile must not meet the read below.
	terminal := int(in.Fd())
	before, err := term.GetState(terminal)
	if err != nil {
		return nil, err
	}
	o.Aside(prompt + ": ")
	defer o.Aside("\n")
	type line struct {
		text []byte
		err  error
	}
	read := make(chan line, 1)
	go func() {
		text, err := term.ReadPassword(terminal)
		read <- line{text, err}
	}()
	select {
	case l := <-read:
		return l.text, l.err
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), term.Restore(terminal, before))
	}
}
