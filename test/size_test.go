package test

import (
	"os"
	"testing"
)

// maxProgram bounds vmux, in bytes. The agent sits on the computer all day, and
// most of its memory is the program itself. (What draws status --watch is 1.4 MiB of
// that, which the agent never touches.) A jump of 2 MiB is text/template, or
// something else that finds methods by their names: the linker keeps all of them then.
const maxProgram = 15<<20 + 704<<10

// The program stays small without flags for the compiler: what is released is
// what `go build` makes.
func TestProgramIsSmall(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxProgram {
		t.Errorf("vmux is %d bytes, over %d", info.Size(), maxProgram)
	}
}
