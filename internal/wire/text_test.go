package wire

import (
	"encoding/json"
	"testing"
)

// A file that another program wrote, or an older version, holds what no constructor of
// this one would make: it is cleaned as it is read.
func TestTextIsCleanedWhereItComesIn(t *testing.T) {
	const hostile, clean = "lap\x1b[2J\u202etop  1 ", "lap\uFFFD[2J\uFFFDtop 1"
	if got := Clean(hostile).String(); got != clean {
		t.Errorf("cleaned: %q", got)
	}
	in, err := json.Marshal(map[string]string{"name": hostile})
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Name Text `json:"name"`
		None Text `json:"none,omitzero"`
	}
	if err := json.Unmarshal(in, &read); err != nil || read.Name.String() != clean {
		t.Errorf("read: %q, %v", read.Name, err)
	}
	if out, err := json.Marshal(read); err != nil || string(out) != `{"name":"lap`+"\uFFFD[2J\uFFFD"+`top 1"}` {
		t.Errorf("written: %s, %v", out, err)
	}
}
