package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// quiet is how long there is no client before memory is looked at.
const quiet = 11 * time.Second

func (b *bench) rest() {
	if !b.quick {
		time.Sleep(quiet)
	}
}

// measureIdleMemory looks at each agent with a key and no connection.
func (b *bench) measureIdleMemory() {
	b.rest()
	ours, oursShared := b.memory(b.vmux)
	for _, other := range []variant{b.agent9, b.agent10, b.plain} {
		theirs, theirsShared := b.memory(other)
		t := target{}
		switch other.name {
		case b.agent9.name:
			t = atMost(2)
		case b.plain.name:
			t = atMost(1)
		}
		b.table.add(row{"memory idle, resident", other.name, mebibytes, []float64{ours}, []float64{theirs}, t})
		if oursShared == 0 || theirsShared == 0 {
			continue // only root may see it
		}
		b.table.add(row{"memory idle, proportional", other.name, mebibytes, []float64{oursShared}, []float64{theirsShared}, target{}})
	}
}

func (b *bench) memory(v variant) (resident, proportional float64) {
	resident, proportional, err := memory(v.pid)
	b.must(err)
	return resident, proportional
}

// measureGrowth lets vmux make signatures. The first ones fill what is kept
// for the following ones, so memory is compared between after them and the end.
func (b *bench) measureGrowth() {
	signatures, connections := 100_000.0, 8
	if b.quick {
		signatures = 100
	}
	b.rest()
	before, _ := b.memory(b.vmux)
	for done := 0.0; done < signatures; {
		s, err := load(signing(b.vmux), connections, b.duration)
		b.must(err)
		done += s.perSecond * b.duration.Seconds()
	}
	busy, _ := b.memory(b.vmux)
	b.rest()
	after, _ := b.memory(b.vmux)
	b.table.add(row{"memory after 100,000 more signatures", "vmux, before them", mebibytes, []float64{after}, []float64{before}, atMost(1.05)})
	nine, _ := b.memory(b.agent9)
	b.table.add(row{"memory at the end of 100,000 signatures", b.agent9.name, mebibytes, []float64{busy}, []float64{nine}, target{}})
	b.table.add(row{"memory after 100,000 more signatures", b.agent9.name, mebibytes, []float64{after}, []float64{nine}, atMost(2)})
	// The plain agent has made some as well by now, but fewer.
	plain, _ := b.memory(b.plain)
	b.table.add(row{"memory after 100,000 more signatures", b.plain.name, mebibytes, []float64{after}, []float64{plain}, atMost(1)})
}

// measureStart starts each agent anew and waits for its first answer. For vmux
// that is the paired agent with its cached keys.
func (b *bench) measureStart() {
	stop(b.world.agent)
	ours, theirs, plain := []float64{}, []float64{}, []float64{}
	for range 2*b.rounds + 1 {
		ours = append(ours, b.start(b.world.agentCommand(), b.world.socket()))
		socket := filepath.Join(b.TempDir(), "s")
		theirs = append(theirs, b.start(exec.Command(b.old.SSHAgent, "-D", "-a", socket), socket))
		socket = filepath.Join(b.TempDir(), "s")
		plain = append(plain, b.start(ownCommand("plain-agent", socket), socket))
	}
	b.table.add(row{"start to first answer", b.agent9.name, seconds, ours, theirs, atMost(1.1)})
	b.table.add(row{"start to first answer", b.plain.name, seconds, ours, plain, target{}})
}

func (b *bench) start(cmd *exec.Cmd, socket string) float64 {
	begin := time.Now()
	b.must(cmd.Start())
	defer stop(cmd)
	for !answers(socket) {
		if time.Since(begin) > 30*time.Second {
			b.Fatalf("%s does not answer", cmd.Path)
		}
		time.Sleep(50 * time.Microsecond)
	}
	return time.Since(begin).Seconds()
}

func (b *bench) measureSize() {
	info, err := os.Stat(b.program)
	b.must(err)
	b.table.add(row{"size of the program", "15 MiB", mebibytes, []float64{float64(info.Size())}, []float64{15 << 20}, atMost(1)})
}
