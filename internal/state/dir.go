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
	"time"

	"vmux/internal/filelock"
	"vmux/internal/wire"
)

// MaxFile bounds one document.
const MaxFile = 16 << 20

// Dir is a folder of documents that this user alone can read. A document is
// replaced as a whole: whoever reads it, even after a crash in the middle of a
// write, finds the old one or the new one.
type Dir struct {
	path     string
	readOnly error // why it is; nil if it can be changed
}

// OpenDir opens the folder, making it and its parents with mode 0700. A folder
// of another user's, or one that others can write to, is refused: whoever
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
		return nil, wire.WithHint(fmt.Errorf("others can write to the state folder %s", path), "chmod 700 "+path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o700); err != nil {
			return nil, fmt.Errorf("restrict state folder: %w", err)
		}
	}
	return &Dir{path, nil}, nil
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

// changing is file for a document that is to be changed.
func (d *Dir) changing(name string) (string, error) {
	if d.readOnly != nil {
		return "", fmt.Errorf("%w: %w", ErrReadOnly, d.readOnly)
	}
	return d.file(name)
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
// all.
func WriteFile(path string, b []byte, mode fs.FileMode) error {
	if err := replace(path, b, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// WriteNew writes a file that is not part of the state and not there yet, for this user
// alone: as a whole, or it is not there afterwards.
func WriteNew(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, flush(f), f.Close()); err != nil {
		err = wire.WithHint(errors.Join(err, os.Remove(path)), "free some space there, or name another FILE")
	}
	return err
}

// Put replaces the document. When it returns, the new one is on the disk.
func (d *Dir) Put(name string, b []byte) error {
	path, err := d.changing(name)
	if err != nil {
		return err
	}
	folder := filepath.Dir(path)
	if err := d.makeFolder(folder); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := replace(path, b, 0o600); err != nil {
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
	path, err := d.changing(name)
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
	return flush(f)
}

// Delete removes the document; one that is not there is no error.
func (d *Dir) Delete(name string) error {
	path, err := d.changing(name)
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
// lost, and returns its new name, which tells when.
func (d *Dir) SetAside(name string, now time.Time) (string, error) {
	path, err := d.changing(name)
	if err != nil {
		return "", err
	}
	suffix := ".damaged-" + now.UTC().Format("20060102-150405")
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

// ownerFile is locked by the process that owns the folder. It stays when that ends: to
// remove it would let two processes own two files.
const ownerFile = ".run"

// Owned is the error where another process owns the folder.
type Owned struct {
	Path string
	By   string // "process 4711, vmux phone run"; empty if it cannot be told
	On   string // the other machine that it is on, with which this one shares the folder
}

// Error says who owns it.
func (o *Owned) Error() string {
	if o.By == "" {
		return "another process has the state folder " + o.Path + " open"
	}
	if o.On != "" {
		return o.By + " on " + o.On + ", has the state folder " + o.Path + " open"
	}
	return o.By + ", has the state folder " + o.Path + " open"
}

// Hint tells what to do where two machines have one home folder: each is a device of its own.
func (o *Owned) Hint() string {
	if o.On == "" {
		return ""
	}
	return "give each machine a folder of its own: VMUX_HOME=" + filepath.Join(filepath.Dir(o.Path), "NAME") + ", for its service, too"
}

// Own makes this process the only one that changes the folder, until release is
// called or the process ends, however it ends: the kernel drops the lock. What it is
// doing tells whoever comes meanwhile, and gets an *Owned at once. Where nobody can be
// the owner, on a disk that can only be read most of all, it is ErrNoLock.
func (d *Dir) Own(doing string) (release func(), err error) {
	path := filepath.Join(d.path, ownerFile)
	f, err := filelock.TryLock(path)
	if errors.Is(err, filelock.ErrHeld) {
		b, _ := os.ReadFile(path) // for people alone: the lock is what counts
		by, on, _ := strings.Cut(string(b), "\n")
		if on = strings.TrimSpace(on); on == hostName() {
			on = ""
		}
		return nil, &Owned{d.path, by, on}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoLock, err)
	}
	_ = f.Truncate(0) // as above; it may not fail on a full disk
	_, _ = fmt.Fprintf(f, "process %d, %s\n%s\n", os.Getpid(), doing, hostName())
	return func() { f.Close() }, nil
}

func hostName() string {
	name, _ := os.Hostname() // "" is no other machine's
	return name
}

// ErrNoLock is Own's error where the folder cannot be locked.
var ErrNoLock = errors.New("lock the state folder")

// ErrReadOnly is the error of a change to a folder that was opened to be read.
var ErrReadOnly = errors.New("the state folder can only be read here")

// ReadOnly returns the same folder to be read alone: the methods that change it fail
// with ErrReadOnly and why. It needs no owner, since documents are replaced
// as a whole.
func (d *Dir) ReadOnly(why error) *Dir { return &Dir{d.path, why} }
