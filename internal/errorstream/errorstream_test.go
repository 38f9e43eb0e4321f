package errorstream

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop"))
}

// Nobody who writes waits for a reader, what was lost is counted, and the end writes the rest.
func TestNobodyWaitsForWhatIsNotTaken(t *testing.T) {
	reader, writer := io.Pipe()
	s := New(writer)
	for i := range 2 * queued {
		fmt.Fprintln(s, "line", i)
	}
	read := make(chan string)
	go func() {
		b, _ := io.ReadAll(reader)
		read <- string(b)
	}()
	s.Close()
	_ = writer.Close()
	text := <-read
	if !strings.Contains(text, "line 0\n") || !strings.Contains(text, "lines are lost, since nothing took them\n") || strings.Contains(text, fmt.Sprint("line ", 2*queued-1, "\n")) {
		t.Errorf("written:\n%s", text)
	}
	fmt.Fprintln(s, "after the end")
}

// The end does not wait for ever for what is not taken.
func TestEndOfWhatIsNotTaken(t *testing.T) {
	reader, writer := io.Pipe()
	s := New(writer)
	fmt.Fprintln(s, "nobody reads this")
	s.Close()
	_ = reader.Close()
	<-s.end
}
