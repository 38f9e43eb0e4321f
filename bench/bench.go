package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"vmux/internal/sshdtest"
)

// variant is one agent that is measured.
type variant struct {
	name   string
	socket string
	pid    int
	blob   []byte // what it is asked to sign with
	line   string // its public key, for authorized_keys
}

type bench struct {
	*scope
	options
	rounds   int
	duration time.Duration // of a load in one round

	old, new sshdtest.OpenSSH
	world    *world // the computer and the phone

	// The variants: vmux, both ssh-agents, and the plain Go agent.
	vmux, agent9, agent10, plain variant

	table *table
}

func newBench(s *scope, o options, t *table) *bench {
	b := &bench{scope: s, options: o, table: t, rounds: 9, duration: 300 * time.Millisecond}
	if b.quick {
		b.rounds, b.duration = 1, 20*time.Millisecond
	}
	b.old, b.new = sshdtest.Old(s), sshdtest.New(s)
	b.agent9 = b.startAgent(b.old)
	b.agent10 = b.startAgent(b.new)
	b.plain = b.startPlain()
	if b.alone {
		b.vmux = b.startAlone()
		return b
	}
	b.progress("pairing")
	b.world = newWorld(s, b.program, b.plain.socket)
	b.vmux = b.world.variant()
	return b
}

func (b *bench) variants() []variant {
	return []variant{b.vmux, b.agent9, b.agent10, b.plain}
}

// progress tells a person that something is happening.
func (b *bench) progress(what string) { fmt.Fprintf(os.Stderr, "bench: %s\n", what) }

func (b *bench) measureAll() {
	steps := []struct {
		name string
		f    func()
	}{
		{"memory, idle", b.measureIdleMemory},
		{"signatures and listings", b.measureSocket},
		{"memory, after 100,000 signatures", b.measureGrowth},
		{"logins", b.measureLogins},
		{"forwarded signatures", b.measureForwarded},
		{"while requests wait", b.measureWhileWaiting},
		{"link", b.measureLink},
		{"hub", b.measureHub},
		{"phone, forwarded signatures through a hub", b.measureRelayed},
		{"phone, certificates", b.measureCertificates},
		{"phone, quiet", b.measureQuiet},
		{"phone, web app", b.measurePhone},
		{"start", b.measureStart},
		{"size", b.measureSize},
	}
	if b.world == nil {
		steps = steps[:3]
	}
	for _, step := range steps {
		if !strings.Contains(step.name, b.only) {
			continue
		}
		b.progress(step.name)
		step.f()
	}
}

func (b *bench) startAgent(o sshdtest.OpenSSH) variant {
	socket, pid := o.StartAgent(b)
	key := filepath.Join(b.TempDir(), "key")
	o.Keygen(b, "-q", "-t", "ecdsa", "-b", "256", "-N", "", "-C", "bench", "-f", key)
	o.Add(b, socket, "-q", key)
	v := variant{name: "ssh-agent " + o.Version, socket: socket, pid: pid}
	b.identify(&v)
	return v
}

func (b *bench) startPlain() variant {
	socket := filepath.Join(b.TempDir(), "s")
	return b.startOwn("plain Go", socket, ownCommand("plain-agent", socket))
}

func (b *bench) startOwn(name, socket string, cmd *exec.Cmd) variant {
	v := variant{name: name, socket: socket, pid: b.startProcess(cmd)}
	b.must(waitFor(name, func() bool { return answers(socket) }))
	b.identify(&v)
	return v
}

// startProcess runs a command until the end of the bench.
func (b *bench) startProcess(cmd *exec.Cmd) (pid int) {
	b.must(cmd.Start())
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd.Process.Pid
}

// identify finds the first key that the agent lists.
func (b *bench) identify(v *variant) {
	keys, err := listKeys(v.socket)
	b.must(err)
	if len(keys) == 0 {
		b.Fatalf("%s lists no key", v.name)
	}
	v.blob, v.line = keys[0].Blob, strings.TrimSpace(keys[0].String())
}

// onlyKey waits until an agent lists one key, and returns its blob.
func (b *bench) onlyKey(what, socket string) (blob []byte) {
	b.must(waitFor(what, func() bool {
		keys, err := listKeys(socket)
		if err == nil && len(keys) == 1 {
			blob = keys[0].Blob
		}
		return blob != nil
	}))
	return blob
}

// waitFor waits until something that another process does has happened.
func waitFor(what string, ready func() bool) error {
	for end := time.Now().Add(30 * time.Second); !ready(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("waited 30 s for %s", what)
		}
	}
	return nil
}

// answers tells whether an agent lists.
func answers(socket string) bool {
	c, err := dialAgent(socket)
	if err != nil {
		return false
	}
	defer c.conn.Close()
	c.conn.SetDeadline(time.Now().Add(5 * time.Second))
	return c.ask(listRequest, msgIdentitiesAnswer) == nil
}
