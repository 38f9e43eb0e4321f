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

// Passphrase returns the secret from the file of --passphrase-file, or asks for it on the
// terminal; twice if it is a new one. The caller wipes it.
func (o *IO) Passphrase(ctx context.Context, path, prompt string, fresh bool) ([]byte, error) {
	return o.PassphraseOf(ctx, "--passphrase-file", path, prompt, fresh)
}

// PassphraseOf is Passphrase with another flag for the file.
func (o *IO) PassphraseOf(ctx context.Context, flag, path, prompt string, fresh bool) ([]byte, error) {
	switch path {
	case "":
		return o.typed(ctx, flag, prompt, fresh)
	case "-":
		secret, err := state.ParseSecret(o.Input(ctx))
		return o.longEnough(secret, fresh), OrHint(err, "one line with the passphrase on standard input")
	}
	secret, err := await(ctx, func() ([]byte, error) { return state.ReadSecret(path) })
	return o.longEnough(secret, fresh), WrongFile(err, "%s FILE with one line, or without it to be asked", flag)
}

// longEnough warns of a new passphrase that a program wrote down: whoever is
// asked for one is told to take another.
func (o *IO) longEnough(secret []byte, fresh bool) []byte {
	if fresh && len(secret) > 0 && len(secret) < shortPassphrase {
		o.Say("the passphrase is very short: whoever copies the key file guesses it at once")
	}
	return secret
}

func (o *IO) typed(ctx context.Context, flag, prompt string, fresh bool) ([]byte, error) {
	in, ok := Terminal(o.In)
	if !ok {
		return nil, WithHint(fmt.Errorf("there is no terminal to ask on: %s", prompt), "%s FILE", flag)
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
	return o.Again(ctx, in, first)
}

// Again has a new secret typed once more. It returns the secret, and wipes one that was
// typed otherwise.
func (o *IO) Again(ctx context.Context, in *os.File, first []byte) ([]byte, error) {
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
// and leaves the terminal as it was.
func (o *IO) Hidden(ctx context.Context, in *os.File, prompt string) ([]byte, error) {
	// Taken once: whoever closes the file meanwhile must not meet the read below.
	terminal := int(in.Fd())
	before, err := term.GetState(terminal)
	if err != nil {
		return nil, err
	}
	o.Aside(prompt + ": ")
	defer o.Aside("\n")
	end := o.hideAgain(terminal, prompt)
	text, err := await(ctx, func() ([]byte, error) { return term.ReadPassword(terminal) })
	end()
	restored := term.Restore(terminal, before) // also after a SIGCONT that came as the line ended
	if ctx.Err() != nil {
		clear(text)
		return nil, errors.Join(ctx.Err(), restored)
	}
	return text, errors.Join(err, restored)
}
