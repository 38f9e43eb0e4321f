package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"vmux/internal/wire"
)

// maxSecret bounds a passphrase, in bytes.
const maxSecret = 4096

// ReadSecret reads a passphrase file: one line, its end being optional. A file
// that others can read is refused, since it keeps no secret. A pipe is taken
// as it is. The caller wipes the result. Errors never repeat what was read.
func ReadSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the passphrase file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at the passphrase file: %w", err)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, wire.WithHint(fmt.Errorf("others can read the passphrase file %s", path), "chmod 600 "+path)
	}
	return ParseSecret(f)
}

// ParseSecret reads one passphrase, up to the reader's end, like ReadSecret.
func ParseSecret(r io.Reader) ([]byte, error) {
	b := make([]byte, 0, maxSecret+3) // of full size, so that no copy stays behind
	n, err := io.ReadFull(r, b[:cap(b)])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the passphrase: %w", err)
	}
	b = bytes.TrimSuffix(bytes.TrimSuffix(b[:n], []byte("\n")), []byte("\r"))
	switch {
	case len(b) > maxSecret:
		err = fmt.Errorf("the passphrase has over %d bytes", maxSecret)
	case len(b) == 0:
		err = errors.New("the passphrase is empty")
	case bytes.ContainsAny(b, "\r\n\x00"):
		err = errors.New("the passphrase has more than one line")
	default:
		return b, nil
	}
	clear(b)
	return nil, err
}
