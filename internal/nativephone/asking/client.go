package asking

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"vmux/internal/nativephone/terminal"
)

// ErrEnded is the error of Attach when the phone has ended the connection. It has said why.
var ErrEnded = errors.New("the phone asks no more at this terminal")

// Attach carries between a terminal and the phone at the other end of the connection, which
// was upgraded to Protocol, until ctx ends. It closes the connection, and leaves the
// terminal as it was found.
func Attach(ctx context.Context, t terminal.Device, connection io.ReadWriteCloser) error {
	defer connection.Close()
	restore, err := t.Keystrokes()
	if err != nil {
		return err
	}
	defer restore()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(t, connection)
	}()
	err = carryKeys(ctx, t, connection, ended)
	_ = connection.Close()
	<-ended
	return err
}

func carryKeys(ctx context.Context, t terminal.Device, to io.Writer, ended <-chan struct{}) error {
	var frame [3 + maxKeys]byte
	defer clear(frame[:])
	var told time.Time
	for columns := -1; ctx.Err() == nil; {
		select {
		case <-ended:
			return ErrEnded
		default:
		}
		if now := t.Columns(); now != columns || time.Since(told) >= tellTime {
			columns, told = now, time.Now()
			frame[0] = frameColumns
			binary.BigEndian.PutUint16(frame[1:], uint16(max(0, min(columns, 1<<15))))
			if _, err := to.Write(frame[:3]); err != nil {
				continue // it has ended
			}
		}
		n, err := t.ReadKeys(frame[3:])
		if err != nil {
			return err
		}
		if n > 0 {
			frame[0] = frameKeys
			binary.BigEndian.PutUint16(frame[1:], uint16(n))
			_, _ = to.Write(frame[:3+n]) // where it fails it has ended
			clear(frame[3:])
		}
	}
	return nil
}
