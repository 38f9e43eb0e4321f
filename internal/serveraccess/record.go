package serveraccess

import (
	"encoding/json"
	"fmt"
	"slices"

	"vmux/internal/state"
)

const document = "servers.json"

// Record is what this computer has put into servers and not taken out: by it a file is
// afterwards as it was, byte for byte. Without it a line is found by itself.
type Record struct {
	dir     *state.Dir
	entries []recorded
}

type recorded struct {
	Server  string `json:"server"` // fingerprint of its host key
	Account string `json:"account"`
	Line    string `json:"line"`
	Placed
}

// OpenRecord reads the record.
func OpenRecord(home state.Home) (*Record, error) {
	dir, err := home.Servers()
	if err != nil {
		return nil, err
	}
	r := &Record{dir: dir}
	return r, r.read()
}

func (r *Record) read() error {
	r.entries = nil
	b, err := r.dir.Get(document)
	if err == nil && b != nil {
		err = json.Unmarshal(b, &r.entries)
	}
	if err != nil {
		return fmt.Errorf("read what was put into servers: %w", err)
	}
	return nil
}

// of: whatever stands beside the key, it is the same.
func (e recorded) of(f Facts, line string) bool {
	return e.Server == f.HostKey && e.Account == f.Account && blobOf(e.Line) == blobOf(line)
}

// Of returns the line that was put into a server for a line's key, and how; the line
// itself if nothing is known of it.
func (r *Record) Of(f Facts, line string) (string, Placed) {
	for _, e := range r.entries {
		if e.of(f, line) {
			return e.Line, e.Placed
		}
	}
	return line, Placed{}
}

// Put records what was put in.
func (r *Record) Put(f Facts, line string, p Placed) error {
	return r.change(f, line, recorded{f.HostKey, f.Account, line, p})
}

// Taken records that it was taken out.
func (r *Record) Taken(f Facts, line string) error { return r.change(f, line) }

// change puts entries in the place of a line's. What stands there is read again: another
// command may have changed it while this one waited for a person and a server.
func (r *Record) change(f Facts, line string, entries ...recorded) error {
	unlock, err := r.dir.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.read(); err != nil {
		return err
	}
	r.entries = append(slices.DeleteFunc(r.entries, func(e recorded) bool { return e.of(f, line) }), entries...)
	if len(r.entries) == 0 {
		return r.dir.Delete(document)
	}
	b, err := json.MarshalIndent(r.entries, "", "  ")
	if err != nil {
		return err
	}
	return r.dir.Put(document, append(b, '\n'))
}
