// Package hubpage compares the web app that a hub serves with the one that was
// built together with this program. A page cannot prove itself: whoever serves it
// decides what it shows. The computer is another party, so it looks. It is no
// proof either: see Limits.
package hubpage

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
)

// Limits is what a comparison without findings does not show.
const Limits = "a hub can answer this computer otherwise than your phone, and can change the page after the check"

// HowToBuild gets a list into a program.
const HowToBuild = "build vmux with `make build`, which builds the page too and notes its files"

// ListFile is where the web app's build writes the list, below the module's root.
// Without it, as on a fresh clone, the program compiles and has no list.
const ListFile = "internal/hubpage/built/list.json"

//go:embed all:built
var built embed.FS

// List is what a hub of one build serves.
type List struct {
	Version string            `json:"version"` // of the app, as it shows it: 64 hexadecimal digits
	Headers map[string]string `json:"headers"` // of every answer
	Files   map[string]File   `json:"files"`   // by name; index.html is served as "" too
}

// File is one file of a List.
type File struct {
	SHA256      string `json:"sha256"` // of its contents, uncompressed, in hexadecimal
	ContentType string `json:"contentType"`
}

// Built returns the list of this program's build; nil: it was built without one.
func Built() (*List, error) {
	b, err := fs.ReadFile(built, "built/list.json")
	if err != nil {
		return nil, nil // what is embedded can be read: it is not there
	}
	var l List
	if err := json.Unmarshal(b, &l); err != nil {
		return nil, fmt.Errorf("this build's list of the page's files: %w", err)
	}
	return &l, nil
}
