package errorstream

import (
	"bufio"
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
	var text strings.Builder
	lines, done := bufio.NewScanner(reader), make(chan bool)
	for !strings.Contains(text.String(), " lines are lost, since nothing took them\n") && lines.Scan() {
		text.WriteString(lines.Text() + "\n")
	}
	go func() {
		for lines.Scan() {
			text.WriteString(lines.Text() + "\n")
		}
		close(done)
	}()
	s.Close()
	_ = writer.Close()
	<-done
	if !strings.Contains(text.String(), "line 0\n") || strings.Contains(text.String(), fmt.Sprint("line ", 2*queued-1, "\n")) {
		t.Errorf("written:\n%s", &text)
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
