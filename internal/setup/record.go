package setup

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vmux/internal/state"
	"vmux/internal/wire"
)

// document holds the record in its folder.
const document = "record.json"

// Record is what setup has written and not taken back. It is stored before each
// change is made, so that one that was cut off is taken back, too.
type Record struct {
	dir     *state.Dir
	release func()
	written
}

// written is the record as it is stored.
type written struct {
	Home    string  `json:"home,omitempty"` // the person's folder at that time
	Entries []entry `json:"entries"`
	// Folders were made for them; those that are empty at the end go, too.
	Folders []string `json:"folders,omitempty"`
}

// entry is one change that was made.
type entry struct {
	Part string `json:"part"` // which of setup's parts it is of; one for each file
	Path string `json:"path"`
	Text string `json:"text"` // what was put there
	// Made says that there was no such file before.
	Made bool `json:"made,omitempty"`
	// Unit is what the service manager was told to start, in place of a file.
	Unit string `json:"unit,omitempty"`
}

// Open opens the record for this process alone; Close ends that.
func Open(home state.Home) (*Record, error) {
	dir, err := home.Setup()
	if err != nil {
		return nil, err
	}
	release, err := dir.Own("vmux setup")
	if err != nil {
		return nil, err
	}
	r := &Record{dir: dir, release: release}
	b, err := dir.Get(document)
	if err == nil && b != nil {
		err = json.Unmarshal(b, &r.written)
	}
	if err != nil {
		release()
		path := filepath.Join(dir.Path(), document)
		return nil, wire.WithHint(fmt.Errorf("%s, the record of what setup has written, cannot be read: %w", path, err),
			"remove that file; then take the lines out by hand that setup has marked with: vmux setup --undo")
	}
	r.followHome()
	return r, nil
}

// followHome looks for what was written where the person's folder is now, if it was moved or
// copied, and this record with it: where it was nothing can be taken back, or all is another's.
func (r *Record) followHome() {
	home, err := os.UserHomeDir()
	if err != nil || r.Home != "" && !strings.HasPrefix(r.dir.Path(), filepath.Clean(home)+"/") {
		return
	}
	moved := func(path string) string {
		if below, ok := strings.CutPrefix(path, filepath.Clean(r.Home)+"/"); ok && r.Home != "" {
			return filepath.Join(home, below)
		}
		return path
	}
	for i := range r.Entries {
		r.Entries[i].Path = moved(r.Entries[i].Path)
	}
	for i := range r.Folders {
		r.Folders[i] = moved(r.Folders[i])
	}
	r.Home = home
}

// Close lets others open the record. It may be called twice.
func (r *Record) Close() { r.release() }

// Empty reports whether there is nothing to take back.
func (r *Record) Empty() bool { return len(r.Entries)+len(r.Folders) == 0 }

// of returns what was written for a part in a file.
func (r *Record) of(part, path string) (entry, bool) {
	i := slices.IndexFunc(r.Entries, func(e entry) bool { return e.Part == part && e.Path == path })
	if i < 0 {
		return entry{}, false
	}
	return r.Entries[i], true
}

// add records a change that is about to be made, with the folders that it needs.
func (r *Record) add(e entry, files ...string) error {
	r.Entries = append(r.Entries, e)
	for _, path := range files {
		r.Folders = append(r.Folders, foldersFor(path)...)
	}
	return r.save()
}

// enable records the units before they are enabled, with the folders that this makes.
func (r *Record) enable(c Change) error {
	e := entry{Part: c.part, Path: c.Path, Unit: c.Unit}
	if err := r.drop(e); err != nil {
		return err
	}
	if err := r.add(e, linksOf(c.Path, c.Unit)...); err != nil {
		return err
	}
	return start(c.Path, c.Unit)
}

func (r *Record) drop(e entry) error {
	r.Entries = slices.DeleteFunc(r.Entries, func(o entry) bool { return o.Part == e.Part && o.Path == e.Path })
	return r.save()
}

func (r *Record) save() error {
	if r.Empty() {
		return r.dir.Delete(document)
	}
	b, err := json.MarshalIndent(r.written, "", "  ")
	if err != nil {
		return err
	}
	return r.dir.Put(document, append(b, '\n'))
}

// Left is something of setup's that could not be taken back.
type Left struct {
	Path string
	Why  string
	Text string // what setup had put there
}

// Undo takes back everything, the last change first. told is called for each file or
// unit that is taken back. What a person has changed since stays as it is and is returned;
// it stays in the record as well, and so does what failed: nothing else waits for that.
func (r *Record) Undo(told func(path string)) ([]Left, error) {
	var left []Left
	var failed error
	if slices.ContainsFunc(r.Entries, func(e entry) bool { return e.Unit != "" }) {
		defer reload()
	}
	for _, e := range slices.Backward(slices.Clone(r.Entries)) {
		why, err := r.takeBack(e)
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
		case why != "":
			left = append(left, Left{e.Path, why, e.Text})
		default:
			told(cmp.Or(e.Unit, e.Path))
		}
	}
	slices.Sort(r.Folders) // the inner ones behind the outer ones
	for _, folder := range slices.Backward(r.Folders) {
		_ = os.Remove(folder) // if it is empty
	}
	if len(left) == 0 && failed == nil {
		r.Folders = nil
	}
	return left, errors.Join(failed, r.save())
}

// takeBack takes back one change, or returns why it is left.
func (r *Record) takeBack(e entry) (why string, err error) {
	if e.Unit != "" {
		if err := disable(e.Path, e.Unit); err != nil {
			return "", err
		}
		return "", r.drop(e)
	}
	f, err := look(e.Path)
	var kept *unchangeable
	switch {
	case errors.As(err, &kept):
		return kept.why, nil
	case err != nil:
		return "", err
	case !f.there:
	case e.Made && f.text == e.Text && !isLink(e.Path): // what a link leads to stays, without the lines
		if err := os.Remove(e.Path); err != nil {
			return "", err
		}
	default:
		after, ok := without(f.text, e.Text)
		switch {
		case !ok && !strings.Contains(f.text, marked) && !strings.Contains(f.text, markedXML): // taken out by hand
			return "", r.drop(e)
		case !ok:
			return "its lines were changed since", nil
		}
		if err := f.write(after); errors.As(err, &kept) {
			return kept.why, nil
		} else if err != nil {
			return "", err
		}
	}
	return "", r.drop(e)
}

func isLink(path string) bool {
	_, err := os.Readlink(path)
	return err == nil
}

// foldersFor returns the folders that have to be made for a file.
func foldersFor(path string) (missing []string) {
	for folder := filepath.Dir(path); ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(folder); err == nil || folder == filepath.Dir(folder) {
			return missing
		}
		missing = append(missing, folder)
	}
}
