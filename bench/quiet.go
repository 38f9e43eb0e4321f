package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vmux/internal/device"
	"vmux/internal/signer/certificates"
	"vmux/internal/wire"
)

// quietBound is what a phone may compute while nothing happens for quietTime.
const (
	quietBound = 30e-3
	quietTime  = 60 * time.Second
)

// measureQuiet looks at a phone that nobody asks anything, with few and with many
// certificates that it remembers: the two must not differ.
func (b *bench) measureQuiet() {
	rounds, pause := min(b.rounds, 3), quietTime
	if b.quick {
		rounds, pause = 1, 50*time.Millisecond
	}
	for _, certificates := range []int{10, 4000} {
		pid := b.startPhoneWith(certificates)
		var used []float64
		for range rounds {
			before, err := cpuSeconds(pid)
			b.must(err)
			time.Sleep(pause)
			after, err := cpuSeconds(pid)
			b.must(err)
			used = append(used, after-before)
		}
		b.table.within(fmt.Sprintf("CPU of vmux phone run while nothing happens, 60 s, %d certificates", certificates), seconds, used, quietBound)
	}
}

// startPhoneWith runs a phone that remembers so many certificates, half of them
// revoked.
func (b *bench) startPhoneWith(count int) (pid int) {
	home := b.TempDir()
	b.must(os.Mkdir(filepath.Join(home, "phone"), 0o700))
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for n := range count {
		now := time.Now().UTC()
		issued := certificates.Issued{
			Serial: strconv.Itoa(n + 1), DeviceID: device.ID{1}, DeviceName: wire.Clean("bench"), Label: wire.Clean("bench"), Principals: []string{"root"},
			IssuedAt: now, ValidAfter: now, ValidUntil: now.Add(8 * time.Hour),
		}
		if n%2 == 0 {
			issued.RevokedAt = now
		}
		b.must(encoder.Encode(issued))
	}
	b.must(os.WriteFile(filepath.Join(home, "phone", "certificates.jsonl"), lines.Bytes(), 0o600))
	phone, log := b.world.startPhone(home)
	if strings.Contains(log, "damaged") {
		b.Fatalf("%s", log)
	}
	return phone.Process.Pid
}
