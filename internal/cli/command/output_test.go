package command

import (
	"io"
	"log"
	"os"
	"strings"
	"testing"
)

// What libraries write to the standard logger goes the way of the program's own words: zeroconf
// would wait for a terminal that ^S has stopped, and phones would be found no more.
func TestLibrariesWaitForNobody(t *testing.T) {
	defer log.SetOutput(os.Stderr)
	reader, writer := io.Pipe()
	o := &IO{Err: writer}
	o.GoOn()
	log.Print("a library's word")
	read := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(reader)
		read <- string(b)
	}()
	o.Close()
	writer.Close()
	if text := <-read; !strings.Contains(text, "a library's word") {
		t.Errorf("written: %q", text)
	}
}
