package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"vmux/internal/filelock"
)

// MaxFile bounds one document.
const MaxFile = 16 << 20

// Dir is a folder of documents that this user alone can read. A document is
// replaced as a whole: whoever reads it, even after a crash in the middle of a
// write, finds the old one or the new one.
type Dir struct{ path string }

// Refusal is a folder or file that is not used because of who else can change
// or read it.
type Refusal struct{ text, hint string }

func refuse(hint, format string, args ...any) error {
	return &Refusal{text: fmt.Sprintf(format, args...), hint: hint}
}

// Error tells what was refused and why.
func (r *Refusal) Error() string { return r.text }

// Hint tells what to do about it.
func (r *Refusal) Hint() string { return r.hint }

// OpenDir opens the folder, making it and its parents with mode 0700. A folder
// of another user's, or one that others can write to, is a *Refusal: whoever
// could plant files there could plant keys and peers. One that others can only
// read is closed to them.
func OpenDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("look at state folder: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("the state folder %s is not a folder", path)
	}
	if err := checkOwner(path, info); err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return nil, refuse("chmod 700 "+path, "others can write to the state folder %s", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o700); err != nil {
			return nil, fmt.Errorf("restrict state folder: %w", err)
		}
	}
	return &Dir{path: path}, nil
}

// Path returns the folder's path.
func (d *Dir) Path() string { return d.path }

// file maps a document's name to its path. Names are words of ASCII letters and digits with
// dashes and dots, one folder deep at most.
func (d *Dir) file(name string) (string, error) {
	bad := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._/", r))
	}
	if name == "" || strings.HasPrefix(name, ".") || strings.Count(name, "/") > 1 ||
		!filepath.IsLocal(name) || strings.IndexFunc(name, bad) >= 0 {
		return "", fmt.Errorf("not a document's name: %q", name)
	}
	return filepath.Join(d.path, filepath.FromSlash(name)), nil
}

// Get returns the document, or nil and no error if there is none.
func (d *Dir) Get(name string) ([]byte, error) {
	path, err := d.file(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxFile {
		return nil, fmt.Errorf("%s is over %d bytes", name, MaxFile)
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}

// WriteFile replaces a file that is not part of the state, as a whole or not at
// all. It has mode 0600.
func WriteFile(path string, b []byte) error {
	if err := replace(path, b); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Size returns the document's size in bytes, 0 if there is none.
func (d *Dir) Size(name string) (int, error) {
	path, err := d.file(name)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return int(info.Size()), nil
}

// Put replaces the document. When it returns, the new one is on the disk.
func (d *Dir) Put(name string, b []byte) error {
	path, err := d.file(name)
	if err != nil {
		return err
	}
	folder := filepath.Dir(path)
	if err := d.makeFolder(folder); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := replace(path, b); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return syncFolder(folder)
}

// makeFolder makes the folder that a document lies in, and makes it last: a
// document in a folder that a power cut undoes is lost.
func (d *Dir) makeFolder(folder string) error {
	err := os.Mkdir(folder, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(folder))
}

// Append adds b to the end of the document and waits until it is on the disk.
func (d *Dir) Append(name string, b []byte) error {
	path, err := d.file(name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return fmt.Errorf("append to %s: %w", name, err)
	}
	return f.Sync()
}

// Delete removes the document; one that is not there is no error.
func (d *Dir) Delete(name string) error {
	path, err := d.file(name)
	if err != nil {
		return err
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// List returns the sorted names of the documents that begin with prefix.
func (d *Dir) List(prefix string) ([]string, error) {
	folder := d.path
	parent, _, deep := strings.Cut(prefix, "/")
	if deep {
		folder = filepath.Join(folder, parent)
	}
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		if deep {
			name = parent + "/" + name
		}
		if e.Type().IsRegular() && strings.HasPrefix(name, prefix) && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Lock keeps every other process (and every other caller of Lock) from changing
// the folder until unlock is called. Readers need no lock.
func (d *Dir) Lock() (unlock func(), err error) {
	f, err := filelock.Lock(filepath.Join(d.path, ".lock"))
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

// SetAside renames a damaged document so that it is out of the way and yet not
// lost, and returns its new name.
func (d *Dir) SetAside(name, suffix string) (string, error) {
	path, err := d.file(name)
	if err != nil {
		return "", err
	}
	return name + suffix, os.Rename(path, path+suffix)
}

// File is one document of a folder as a store of its own.
func (d *Dir) File(name string) *File { return &File{dir: d, name: name} }

// File implements device.Store.
type File struct {
	dir  *Dir
	name string
}

// Load returns the document, or nil and no error if there is none.
func (f *File) Load() ([]byte, error) { return f.dir.Get(f.name) }

// Save replaces the document.
func (f *File) Save(b []byte) error { return f.dir.Put(f.name, b) }

// Lock locks the whole folder.
func (f *File) Lock() (unlock func(), err error) { return f.dir.Lock() }

// ErrClaimed is returned when another process has claimed the name.
var ErrClaimed = errors.New("claimed by another process")

// Claim makes this process the only one that does what name stands for, until
// release is called or the process ends, however it ends. It waits for no other
// claim: ErrClaimed. The caller holds no Lock.
func (d *Dir) Claim(name string) (release func(), err error) {
	if _, err := d.file(name); err != nil {
		return nil, err
	}
	unlock, err := d.Lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return d.claim(name)
}

func (d *Dir) claim(name string) (release func(), err error) {
	f, err := filelock.TryLock(filepath.Join(d.path, "."+name))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, ErrClaimed
	}
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

// Claimed reports whether a process has claimed the name and is alive. It tries
// to claim it, under the lock, so that no Claim meets the attempt.
func (d *Dir) Claimed(name string) (bool, error) {
	if _, err := d.file(name); err != nil {
		return false, err
	}
	unlock, err := d.Lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	release, err := d.claim(name)
	if errors.Is(err, ErrClaimed) {
		return true, nil
	}
	if err == nil {
		release()
	}
	return false, err
}
