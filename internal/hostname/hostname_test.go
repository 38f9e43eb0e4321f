package hostname

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/state"
)

// What avahi-daemon makes of these names was seen; ../../test compares the two.
func TestNamesOfComputers(t *testing.T) {
	for given, want := range map[string]string{
		"laptop": "laptop.local", "Laptop": "laptop.local", "laptop.fritz.box": "laptop.local", "laptop.": "laptop.local",
		"MacBook-Pro-2": "macbook-pro-2.local", "2001": "2001.local", strings.Repeat("a", 63): strings.Repeat("a", 63) + ".local",
		"": "", "localhost": "", "localhost.localdomain": "", "LOCALHOST": "", ".": "", "laptop-": "", "-laptop": "",
	} {
		if got, err := local(given); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", given, got, err, want)
		}
	}
	for given, want := range map[string]string{
		"my_laptop": "mylaptop", "Jürgen": "Jrgen", "My PC": "MyPC", "工作": "", strings.Repeat("a", 64): strings.Repeat("a", 63),
	} {
		if got := strip(given); got != want {
			t.Errorf("%q is stripped to %q, want %q", given, got, want)
		}
	}
	for given, want := range map[string]string{
		"my_laptop": "my-laptop", "Jürgen's PC": "j-rgen-s-pc", "工作": "laptop", "localhost": "laptop", "": "laptop", "-x-": "x",
		strings.Repeat("a", 62) + "_b": strings.Repeat("a", 62),
	} {
		if got := suggest(given); got != want || !Valid(got) {
			t.Errorf("for %q it suggests %q, want %q", given, got, want)
		}
	}
	err := error(&Unusable{"工作"})
	unusable, ok := errors.AsType[*Unusable](err)
	if !ok || !strings.Contains(err.Error(), `"工作"`) || unusable.Hint() != Rename("laptop") {
		t.Errorf("%v, hint %s", err, unusable.Hint())
	}
}

func TestValid(t *testing.T) {
	for name, want := range map[string]bool{
		"laptop.local": true, "a.b-c.d1": true, "my_laptop.local": false, "my laptop": false, "l\u00e4ptop": false, "": false,
		"laptop.local.": false, "Laptop": false, "-a.b": false, "a-.b": false, strings.Repeat("a", 64) + ".local": false,
		strings.Repeat("abc.", 63) + "a": true, strings.Repeat("abc.", 63) + "ab": false,
	} {
		if Valid(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

// The first name stays, whatever the computer is called later.
func TestFirstNameIsKept(t *testing.T) {
	dir, err := state.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Put(keptFile, []byte("first.local\n")); err != nil {
		t.Fatal(err)
	}
	n, err := Keep(dir)
	if err != nil || n.Kept != "first.local" {
		t.Fatalf("%+v, %v", n, err)
	}
	n.Now = "dhcp-17.local"
	what, hint := n.Changed()
	if !strings.Contains(what, "dhcp-17.local") || !strings.Contains(what, "first.local") || hint != Rename("first") {
		t.Errorf("%q, hint %q", what, hint)
	}
	n.Now = ""
	if what, _ := n.Changed(); !strings.Contains(what, "no name") {
		t.Errorf("%q", what)
	}
	n.Now = n.Kept
	if what, hint := n.Changed(); what != "" || hint != "" {
		t.Errorf("%q, %q", what, hint)
	}
	for _, damaged := range []string{"", "first", "my_laptop.local", "a.local\nb.local"} {
		if err := dir.Put(keptFile, []byte(damaged)); err != nil {
			t.Fatal(err)
		}
		if n, err := Keep(dir); err == nil || !strings.Contains(err.Error(), filepath.Join(dir.Path(), keptFile)) {
			t.Errorf("%q: %+v, %v", damaged, n, err)
		}
	}
}

func TestNothingIsKeptOfAnUnusableName(t *testing.T) {
	dir, err := state.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n, err := Keep(dir)
	_, kept := os.Stat(filepath.Join(dir.Path(), keptFile))
	if (err == nil) != (kept == nil) || err == nil && (n.Kept != n.Now || !Valid(n.Kept)) {
		t.Errorf("%+v, %v; file: %v", n, err, kept)
	}
}

// Each change is told once, and that all is well again is not.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a", "a", "b", "b", "a", "b", "", "c"}
		ctx, cancel := context.WithCancel(t.Context())
		var told []string
		i := 0
		Name{Kept: "a.local"}.watch(ctx, time.Minute, func() (string, error) {
			if i == len(names) {
				cancel()
				return "a.local", nil
			}
			i++
			return local(names[i-1])
		}, func(what, _ string) { told = append(told, strings.Fields(what)[4]) })
		if got := strings.Join(told, " "); got != "b.local b.local no c.local" {
			t.Errorf("told %q", got)
		}
	})
}
