// Package config reads the configuration file: TOML, with a table for each
// command whose flags are settings. It is strict, and every error names the line.
// Which settings there are, and what values they take, the flags say; it has no
// list of its own, and writes nothing.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/pelletier/go-toml/v2"

	"vmux/internal/wire"
)

// The tables of the file: each holds the flags of one command.
const (
	TableAgent = "agent" // vmux agent
	TablePhone = "phone" // vmux phone run
)

// maxSize bounds the file, which is otherwise read into memory whatever it is.
const maxSize = 1 << 20

// Error is something in the file that cannot be used.
type Error struct {
	File string
	Line int // 0 if it concerns the whole file
	Text string
	hint string
}

// Error tells where and what.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Text
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
}

// Hint tells what would be right; it may be empty.
func (e *Error) Hint() string { return e.hint }

// file is what was read: the values by table and key.
type file struct {
	path   string
	found  bool
	tables map[string]map[string]value
}

type value struct {
	is   any // as go-toml decodes it: string, int64, bool, []any, …
	line int
}

func (f *file) errorf(line int, hint, format string, args ...any) error {
	return &Error{File: f.path, Line: line, Text: fmt.Sprintf(format, args...), hint: hint}
}

// read reads the file. If there is none, no value is set, unless a person named it.
func read(path string, named bool) (*file, error) {
	f := &file{path: path}
	b, err := f.contents()
	if err == nil {
		f.found = true
		return f, f.parse(b)
	}
	absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
	_, link := os.Readlink(path)
	switch {
	case absent && link == nil:
		return nil, f.errorf(0, "remove the link, or put the file back", "is a symbolic link that leads to no file")
	case absent && !named:
		return f, nil
	case absent:
		return nil, f.errorf(0, "--config with a file that is there, or none", "no such file")
	case errors.As(err, new(*Error)):
		return nil, err
	}
	// It says which hub and which rules hold: to go on without it would be to guess.
	if cause := new(fs.PathError); errors.As(err, &cause) {
		err = cause.Err
	}
	return nil, f.errorf(0, "ls -lL "+path, "cannot be read: %v", err)
}

// contents reads the file as it is. A symbolic link is followed, as configurations
// kept in one place need it.
func (f *file) contents() ([]byte, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a pipe would be waited for
		return nil, f.errorf(0, "--config none reads no file", "is no regular file")
	}
	opened, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	if info, err = opened.Stat(); err != nil {
		return nil, err
	}
	if err := f.checkWriters(info); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(opened, maxSize+1))
	if len(b) > maxSize {
		return nil, f.errorf(0, "", "is over %d bytes", maxSize)
	}
	return b, err
}

// parse decodes the file: once for the values, and once into tables that have no
// fields, since go-toml tells the line of each key that it has no place for.
func (f *file) parse(b []byte) error {
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // Windows editors write it
	if bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")) || bytes.IndexByte(b, 0) >= 0 {
		return f.errorf(0, "save it as UTF-8", "is no UTF-8 text")
	}
	values := map[string]any{}
	if err := toml.Unmarshal(b, &values); err != nil {
		return f.syntax(err, `a setting is a line such as hub = "https://hub.example.com": text stands in quotes, numbers and true do not`)
	}
	var tables struct {
		Agent struct{} `toml:"agent"`
		Phone struct{} `toml:"phone"`
	}
	strict := toml.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	err := strict.Decode(&tables)
	missing, found := errors.AsType[*toml.StrictMissingError](err)
	if err != nil && !found {
		return f.syntax(err, "write [agent] or [phone], and below it one line for each setting")
	}
	f.tables = map[string]map[string]value{}
	if found {
		for i := range missing.Errors {
			if err := f.place(&missing.Errors[i], values); err != nil {
				return err
			}
		}
	}
	return nil
}

// place notes one key with its line.
func (f *file) place(at *toml.DecodeError, values map[string]any) error {
	line, _ := at.Position()
	key := at.Key()
	first, there := values[key[0]]
	table, known := first.(map[string]any)
	switch {
	case !there: // go-toml leaves out what stands before the braces
		return f.errorf(line, "write [agent] or [phone], and below it one line for each setting", "%s stands between braces", wire.Show(key[0]))
	case !slices.Contains([]string{TableAgent, TablePhone}, key[0]):
		what := "setting " + wire.Show(key[0]) + " outside of the tables"
		if known {
			what = "table [" + wire.Show(key[0]) + "]"
		}
		return f.errorf(line, "settings stand below [agent], for vmux agent, or [phone], for vmux phone run", "unknown %s", what)
	case len(key) != 2:
		return f.errorf(line, "", "unknown setting %s in [%s]", wire.Show(strings.Join(key[1:], ".")), key[0])
	}
	if f.tables[key[0]] == nil {
		f.tables[key[0]] = map[string]value{}
	}
	f.tables[key[0]][key[1]] = value{table[key[1]], line}
	return nil
}

// syntax is go-toml's error in the words of this package.
func (f *file) syntax(err error, hint string) error {
	at, ok := errors.AsType[*toml.DecodeError](err)
	if !ok {
		return f.errorf(0, hint, "%v", err)
	}
	line, _ := at.Position()
	text := strings.TrimPrefix(at.Error(), "toml: ")
	if key := at.Key(); len(key) == 1 && (key[0] == TableAgent || key[0] == TablePhone) {
		text = "[" + key[0] + "] is a table, and stands once"
	}
	return f.errorf(line, hint, "%s", text)
}
