package main

import (
	"fmt"
	"os"
	"time"
)

// samples are the rounds of each variant, by name.
type samples map[string][]sample

// interleave lets each variant work once per round, each round beginning with
// another one.
func (b *bench) interleave(request func(variant) work, connections int, variants ...variant) samples {
	results := samples{}
	for round := range b.rounds {
		for i := range variants {
			v := variants[(i+round)%len(variants)]
			before, _ := cpuSeconds(v.pid)
			s, err := load(request(v), connections, b.duration)
			if err != nil {
				b.Fatalf("%s, %d connections: %v", v.name, connections, err)
			}
			if after, err := cpuSeconds(v.pid); err == nil {
				s.cpu = (after - before) / (s.perSecond * b.duration.Seconds())
			}
			results[v.name] = append(results[v.name], s)
		}
	}
	return results
}

func signing(v variant) work { return work{v.socket, signRequest(v.blob), msgSignResponse} }

func listing(v variant) work { return work{v.socket, listRequest, msgIdentitiesAnswer} }

type metric func(sample) float64

func byRate(s sample) float64 { return s.perSecond }
func byP50(s sample) float64  { return s.p50 }
func byP99(s sample) float64  { return s.p99 }
func byCPU(s sample) float64  { return s.cpu }

func values(rounds []sample, m metric) (list []float64) {
	for _, one := range rounds {
		list = append(list, m(one))
	}
	return list
}

func (s samples) values(v variant, m metric) []float64 { return values(s[v.name], m) }

// compare adds a row for one metric of one variant.
func (b *bench) compare(what string, s samples, other variant, u unit, m metric, t target) {
	b.table.add(row{what, other.name, u, s.values(b.vmux, m), s.values(other, m), t})
}

// measureSocket is the table of signatures and listings.
func (b *bench) measureSocket() {
	b.onOneProcessor(func() {
		s := b.interleave(signing, 1, b.variants()...)
		what := "sign, 1 connection, one CPU, p50"
		b.compare(what, s, b.agent9, seconds, byP50, atMost(0.15))
		b.compare(what, s, b.agent10, seconds, byP50, atMost(0.25))
		b.compare(what, s, b.plain, seconds, byP50, atMost(0.85))
		b.compare("sign, 1 connection, one CPU, p99", s, b.agent9, seconds, byP99, target{})
		b.noteFloor()
	})
	for _, n := range []int{1, 2, 8} {
		s := b.interleave(signing, n, b.variants()...)
		b.tell(fmt.Sprintf("sign, %s", counted(n)), s)
	}
	s := b.interleave(signing, 64, b.variants()...)
	b.compare("sign, 64 connections", s, b.agent9, perSecond, byRate, atLeast(12))
	b.compare("sign, 64 connections", s, b.agent10, perSecond, byRate, target{})
	b.compare("sign, 64 connections", s, b.plain, perSecond, byRate, atLeast(1.8))
	b.compare("sign, 64 connections, p50", s, b.agent9, seconds, byP50, target{})
	b.compare("sign, 64 connections, p99", s, b.agent9, seconds, byP99, atMost(0.25))
	b.compare("sign, 64 connections, p99", s, b.plain, seconds, byP99, target{})
	b.compare("sign, 64 connections, agent's CPU each", s, b.agent9, seconds, byCPU, target{})
	b.compare("sign, 64 connections, agent's CPU each", s, b.plain, seconds, byCPU, target{})

	b.tell("list, 1 connection", b.interleave(listing, 1, b.variants()...))
	s = b.interleave(listing, 8, b.variants()...)
	b.compare("list, 8 connections", s, b.agent9, perSecond, byRate, atLeast(3.5))
	b.compare("list, 8 connections", s, b.plain, perSecond, byRate, target{})
	b.compare("list, 8 connections, p50", s, b.agent9, seconds, byP50, target{})
	b.compare("list, 8 connections, p99", s, b.agent9, seconds, byP99, atMost(0.8))
	b.compare("list, 8 connections, p99", s, b.plain, seconds, byP99, target{})
}

func counted(connections int) string {
	if connections == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", connections)
}

// tell adds rows without a target.
func (b *bench) tell(what string, s samples) {
	for _, other := range []variant{b.agent9, b.agent10, b.plain} {
		b.compare(what, s, other, perSecond, byRate, target{})
	}
	b.compare(what+", p50", s, b.agent9, seconds, byP50, target{})
	b.compare(what+", p99", s, b.agent9, seconds, byP99, target{})
}

// onOneProcessor keeps every process of a comparison on one processor, those of
// the variants and the others: between two of them, wake-ups blur what a single
// connection takes.
func (b *bench) onOneProcessor(f func(), others ...int) {
	pids := append(others, os.Getpid())
	for _, v := range b.variants() {
		pids = append(pids, v.pid)
	}
	if err := pin(1, pids...); err != nil {
		b.table.note("one CPU: not pinned, %v", err)
		f()
		return
	}
	defer func() { b.must(pin(64, pids...)) }()
	if !b.quick {
		time.Sleep(1500 * time.Millisecond) // Go's scheduler looks once a second how many there are
	}
	f()
}

// measureWhileWaiting repeats the main figures while requests wait for a phone
// that has stopped in its tracks.
func (b *bench) measureWhileWaiting() {
	const waiting = 32
	measure := func(add func(what string, s samples, m metric)) {
		add("list, 8 connections", b.interleave(listing, 8, b.vmux), byRate)
		add("sign, 64 connections", b.interleave(signing, 64, b.vmux), byRate)
		add("sign, 1 connection", b.interleave(signing, 1, b.vmux), byRate)
	}
	quiet := map[string][]float64{}
	measure(func(what string, s samples, m metric) { quiet[what] = s.values(b.vmux, m) })
	defer b.world.stopPhone()()
	clients := b.ask(waiting)
	measure(func(what string, s samples, m metric) {
		what2 := fmt.Sprintf("%s, %d requests waiting", what, waiting)
		b.table.add(row{what2, "vmux, none waiting", perSecond, s.values(b.vmux, m), quiet[what], atLeast(0.9)})
	})
	for _, c := range clients {
		c.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.reader.Peek(1); err == nil {
			b.Fatalf("a request that was to wait for the phone has been answered")
		}
		c.conn.Close()
	}
}

// ask sends requests for the phone's key, each on a connection of its own.
func (b *bench) ask(n int) []*client {
	request := signRequest(b.world.held())
	clients := make([]*client, n)
	for i := range clients {
		c, err := dialAgent(b.vmux.socket)
		b.must(err)
		_, err = c.conn.Write(request)
		b.must(err)
		clients[i] = c
	}
	return clients
}
