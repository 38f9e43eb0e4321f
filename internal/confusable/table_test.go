//go:build !js

package confusable

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"testing"
	"unicode"

	"go.mau.fi/util/confusable"
)

var update = flag.Bool("update", false, "write the table anew")

// The table says of each character what the library says, which is made from
// Unicode's own file.
func TestTable(t *testing.T) {
	var from, like bytes.Buffer
	before := rune(0)
	for r := rune(0); r <= unicode.MaxRune; r++ {
		target := confusable.GetReplacement(r)
		if target == "" || decompose(string(r)) != string(r) { // no skeleton asks for it
			continue
		}
		from.Write(binary.AppendUvarint(nil, uint64(r-before)))
		if like.Len() > 0 {
			like.WriteByte('\n')
		}
		like.WriteString(target)
		before = r
	}
	from.WriteByte(0)
	want := append(from.Bytes(), like.Bytes()...)
	if *update {
		if err := os.WriteFile("table.bin", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(table, want) {
		t.Fatalf("table.bin has %d bytes and is not what the library says: go test ./internal/confusable -update", len(table))
	}
	for r := rune(0); r <= unicode.MaxRune; r++ {
		s := string(r)
		if got := skeleton(s); got != confusable.Skeleton(s) && unicode.IsGraphic(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			t.Fatalf("%U: skeleton %q, the library says %q", r, got, confusable.Skeleton(s))
		}
	}
}
