package sshagent

import (
	"bufio"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// One deadline covers the whole message: a client that sends its length late, and
// then its rest late, does not get twice the time.
func TestFrameTimeoutCoversTheWholeFrame(t *testing.T) {
	const timeout = 10 * time.Second
	for name, pauses := range map[string][]time.Duration{
		"in time":         {4 * time.Second, 5 * time.Second},
		"in pieces":       {6 * time.Second, 6 * time.Second},
		"header late":     {11 * time.Second, 0},
		"body never ends": {time.Second, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				c := &client{server: New(Config{Backend: noKeys{}, FrameTimeout: timeout}), conn: ours, r: bufio.NewReaderSize(ours, bufferSize)}
				frame := message(msgSignRequest, []byte("some bytes"))
				answered := make(chan struct{})
				var sender sync.WaitGroup
				sender.Go(func() {
					for i, piece := range [][]byte{frame[:2], frame[2:6], frame[6:]} {
						if _, err := theirs.Write(piece); err != nil || i == len(pauses) {
							return
						}
						select {
						case <-time.After(pauses[i]):
						case <-answered:
						}
					}
				})
				<-time.After(time.Minute) // before its first byte a client may idle
				began := time.Now()
				_, err := c.next()
				if late := pauses[0]+pauses[1] > timeout; late != errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("next: %v", err)
				}
				if took := time.Since(began); took > timeout {
					t.Errorf("it took %v", took)
				}
				close(answered)
				ours.Close()
				sender.Wait()
			})
		})
	}
}
