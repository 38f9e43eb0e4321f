package phonecmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/nativephone"
	"vmux/internal/signer"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// This file is how commands reach the phone's state, which one process owns: the one
// that runs the phone, or else the command itself, for as long as one operation takes.
// Files, terminals and the agents of --upstream are the command's own: whatever it
// read or asked for is among the operation's arguments.

// nothing is what an operation takes or returns that has no arguments or no answer.
type nothing struct{}

// operations are all of them, by name.
var operations = map[string]func(ctx context.Context, p *nativephone.Phone, arguments []byte) (any, error){}

// Operation makes a function that runs in the process that owns the phone's state. What
// it takes and returns goes through JSON in either case. Its errors keep their
// sentence, hint and exit status, and nothing else.
func Operation[In, Out any](name string, do func(context.Context, *nativephone.Phone, In) (Out, error)) func(context.Context, In) (Out, error) {
	operations[name] = func(ctx context.Context, p *nativephone.Phone, arguments []byte) (any, error) {
		var in In
		d := json.NewDecoder(bytes.NewReader(arguments))
		d.DisallowUnknownFields()
		err := d.Decode(&in)
		if err == nil {
			_, err = d.Token()
		}
		if !errors.Is(err, io.EOF) {
			return nil, errOtherVersion
		}
		return do(ctx, p, in)
	}
	return func(ctx context.Context, in In) (Out, error) {
		var answer answered[Out]
		err := atPhone(ctx, name, in, &answer)
		if err == nil && answer.Error != nil {
			err = answer.Error
			if answer.Error.Code == control.CodeInvalid {
				err = command.Usage(answer.Error.Sentence, answer.Error.Hint)
			}
		}
		return answer.Answer, err
	}
}

var errOtherVersion = command.WithHint(errors.New("the phone that runs does not know this command"), "end `vmux phone run` and start it again: it is of another version")

// given is a flag's value for an operation that changes what was named alone.
func given[T any](cmd *cobra.Command, flag string, value T) *T {
	if !cmd.Flags().Changed(flag) {
		return nil
	}
	return &value
}

// change takes over what was given.
func change[T any](to, given *T) {
	if given != nil {
		*to = *given
	}
}

// answered is what came of an operation.
type answered[Out any] struct {
	Answer Out            `json:"answer,omitzero"`
	Error  *control.Error `json:"error,omitempty"`
}

// perform is the nativephone.Performer.
func perform(ctx context.Context, p *nativephone.Phone, name string, arguments []byte) any {
	do := operations[name]
	if do == nil {
		return answered[any]{Error: toldOf(errOtherVersion)}
	}
	answer, err := do(ctx, p, arguments)
	if err != nil {
		return answered[any]{Error: toldOf(p.Explained(err))}
	}
	return answered[any]{Answer: answer}
}

// toldOf is an error as it is told over the socket.
func toldOf(err error) *control.Error {
	told := &control.Error{Code: wire.CodeInternalError, Sentence: command.Sentence(err), Hint: command.HintOf(err)}
	var coded *wire.Error
	switch {
	case command.ExitOf(err) == wire.ExitUsage:
		told.Code = control.CodeInvalid
	case errors.As(err, &coded):
		told.Code = coded.Code
	}
	return told
}

// atPhone runs an operation where the phone's state is.
func atPhone(ctx context.Context, name string, in, answer any) error {
	home, err := state.Find()
	if err != nil {
		return err
	}
	arguments, err := json.Marshal(in)
	defer clear(arguments) // a passphrase may be among them
	if err != nil {
		return err
	}
	for {
		p, running, err := nativephone.Reach(ctx, home, "vmux phone "+name, signer.Approver{}, nil)
		if err != nil {
			return inUse(err)
		}
		if running != nil {
			if begun, err := running.Perform(ctx, name, arguments, answer); begun {
				return err
			}
			continue // it has just ended
		}
		p.ProgramVersion = command.Version
		b, err := json.Marshal(perform(ctx, p, name, arguments))
		p.Close()
		defer clear(b)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, answer)
	}
}

// inUse says what to do about another process that owns the phone's state.
func inUse(err error) error {
	if owned := new(state.Owned); errors.As(err, &owned) {
		return command.OrHint(err, "try again when it has ended; one that does not end may be stopped (^Z), and goes on with fg")
	}
	return err
}
