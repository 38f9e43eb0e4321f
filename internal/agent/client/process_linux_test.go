package client

import "testing"

// The name is whatever the program calls itself, a line of stat included.
func TestParseStat(t *testing.T) {
	const numbers = " S 7 8 9 34816 8 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2 3"
	got, ok := parseStat([]byte("12 (a) S 1 2 3 (b)" + numbers))
	want := Process{ID: ID{Started: 4711}, Name: "a) S 1 2 3 (b", Parent: 7, Group: 8, Terminal: true, tty: 34816, front: 8}
	if !ok || got != want {
		t.Errorf("%+v, %v; want %+v", got, ok, want)
	}
	for _, bad := range []string{"", "12", "12 (a)", "12 )a(" + numbers, "12 (a) S x 8 9 0 8 4 1 2 3 4 5 6 7 8 20 0 1 0 4711"} {
		if _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q: accepted", bad)
		}
	}
}
