package sshagent

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// These are for profiling; `make bench` compares with other agents.

func BenchmarkSign(b *testing.B) {
	k := newKeys(b)
	benchmark(b, k, signMessage(k.local.PublicKey().Marshal(), make([]byte, 800)))
}

func BenchmarkList(b *testing.B) {
	benchmark(b, newKeys(b), message(msgRequestIdentities))
}

func benchmark(b *testing.B, k *keys, request []byte) {
	for _, connections := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(connections), func(b *testing.B) {
			path := serve(b, Config{Backend: k})
			b.ReportAllocs()
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan error)
			for range connections {
				c := dial(b, path)
				go func() {
					answer := make([]byte, 4096)
					for left.Add(-1) >= 0 {
						if _, err := c.Write(request); err != nil {
							done <- err
							return
						}
						if _, err := c.Read(answer); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range connections {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
