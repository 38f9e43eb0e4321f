package certificate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const warningFile = "certificate file"

// KeepFile keeps the session certificate, which is public, in a file for ssh's
// IdentityFile: with `IdentitiesOnly yes` ssh uses no certificate of an agent that
// it does not know from a file. It ends, and the file with it, when ctx does.
func (m *Manager) KeepFile(ctx context.Context, path string) {
	keep := func(line string) {
		text := ""
		if err := writeFile(path, line); err != nil {
			text = "The certificate cannot be kept for ssh: " + err.Error()
		}
		m.Journal.Warn(warningFile, text)
	}
	kept := ""
	keep(kept) // one of an agent that was killed
	for ctx.Err() == nil {
		m.mu.Lock()
		s, changed := m.session, m.changed
		m.mu.Unlock()
		line := ""
		if s.Valid(time.Now()) {
			line = s.line() + "\n"
		}
		if line != kept {
			kept = line
			keep(kept)
			continue // what has changed meanwhile
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	if kept != "" {
		keep("")
	}
}

// writeFile replaces the file atomically, or removes it when there is no
// line. A file that is not the agent's is left alone.
func writeFile(path, line string) error {
	old, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if line == "" {
			return nil
		}
	case err != nil:
		return err
	case !bytes.HasSuffix(old, []byte(" "+Comment+"\n")):
		return fmt.Errorf("%s is not the agent's: move it away", path)
	case line == "":
		return os.Remove(path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
