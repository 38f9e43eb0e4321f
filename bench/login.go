package main

import (
	"context"
	"time"

	"vmux/internal/sshdtest"
)

// measureLogins runs `ssh … true` with each agent in turn, by certificate with
// vmux and by key with the others.
func (b *bench) measureLogins() {
	others := []variant{b.agent9, b.agent10, b.plain}
	config := sshdtest.Config{TrustedUserCAKeys: []string{b.world.run(b.world.computer, "", "ca")}}
	for _, v := range others {
		config.AuthorizedKeys = append(config.AuthorizedKeys, v.line)
	}
	server := b.old.StartServer(b, config)
	variants := append([]variant{b.vmux}, others...)
	wall, cpu := map[string][]float64{}, map[string][]float64{}
	rounds := 2 * b.rounds
	if b.quick {
		rounds = 1
	}
	for round := range rounds {
		for i := range variants {
			v := variants[(i+round)%len(variants)]
			w, c := b.login(server, v)
			wall[v.name] = append(wall[v.name], w)
			cpu[v.name] = append(cpu[v.name], c)
		}
	}
	add := func(what string, by map[string][]float64, other variant, t target) {
		b.table.add(row{what, other.name, seconds, by[b.vmux.name], by[other.name], t})
	}
	add("ssh … true, wall", wall, b.agent9, atMost(1.03))
	add("ssh … true, agent's CPU", cpu, b.agent9, atMost(0.45))
	add("ssh … true, agent's CPU", cpu, b.agent10, target{})
	add("ssh … true, agent's CPU", cpu, b.plain, target{})
}

func (b *bench) login(server *sshdtest.Server, v variant) (wall, cpu float64) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := server.Command(ctx, b, b.old, v.socket, "true")
	before, err := cpuSeconds(v.pid)
	b.must(err)
	begin := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("ssh with %s: %v\n%s", v.name, err, out)
	}
	wall = time.Since(begin).Seconds()
	after, err := cpuSeconds(v.pid)
	b.must(err)
	return wall, after - before
}
