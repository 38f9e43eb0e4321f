package hubtest

import (
	"math/rand/v2"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
)

// Misdeed makes what an evilhub does to packets, for Hub.Tamper, by chance. Third
// is a device that belongs to neither of the two.
type Misdeed func(r *rand.Rand, third device.ID) func(Packet) []Packet

// each is a misdeed that looks at one packet, whatever came before.
func each(misdeed func(*rand.Rand, Packet) []Packet) Misdeed {
	return func(r *rand.Rand, _ device.ID) func(Packet) []Packet {
		return func(p Packet) []Packet { return misdeed(r, p) }
	}
}

// Misdeeds are those there are, by name.
var Misdeeds = map[string]Misdeed{
	"replays": func(r *rand.Rand, _ device.ID) func(Packet) []Packet {
		var kept []Packet
		return func(p Packet) []Packet {
			kept = append(kept, p)
			if r.IntN(4) > 0 {
				return []Packet{p}
			}
			return append([]Packet{p}, kept[r.IntN(len(kept))], kept[r.IntN(len(kept))])
		}
	},
	"replays streams": func(r *rand.Rand, _ device.ID) func(Packet) []Packet {
		type end struct {
			from, to device.ID
			number   uint64
		}
		kept := map[end][]Packet{} // what was said since the stream was opened
		return func(p Packet) []Packet {
			key, out := end{p.From, p.To, p.Stream}, []Packet{p}
			if _, whole := kept[key]; p.Kind == hubwire.KindOpen || whole && len(kept[key]) < 100 {
				kept[key] = append(kept[key], p)
			}
			if r.IntN(6) > 0 {
				return out
			}
			number := r.Uint64()
			for _, again := range kept[key] {
				again.Stream = number
				out = append(out, again)
			}
			return out
		}
	},
	"reorders": func(r *rand.Rand, _ device.ID) func(Packet) []Packet {
		var held []Packet
		return func(p Packet) []Packet {
			held = append(held, p)
			if len(held) < 3 && r.IntN(3) > 0 {
				return nil
			}
			out := held
			held = nil
			r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
			return out
		}
	},
	"drops": each(func(r *rand.Rand, p Packet) []Packet {
		if r.IntN(6) == 0 {
			return nil
		}
		return []Packet{p}
	}),
	"truncates": each(func(r *rand.Rand, p Packet) []Packet {
		if p.Kind == hubwire.KindData && len(p.Payload) > 1 && r.IntN(6) == 0 {
			p.Payload = p.Payload[:1+r.IntN(len(p.Payload)-1)]
		}
		return []Packet{p}
	}),
	"injects": each(func(r *rand.Rand, p Packet) []Packet {
		if r.IntN(6) > 0 {
			return []Packet{p}
		}
		forged := p
		forged.Kind, forged.Payload = hubwire.KindData, []byte(`{"version":1,"id":"x","kind":"signRequest","body":{}}`)
		return []Packet{forged, p}
	}),
	"flips bits": each(func(r *rand.Rand, p Packet) []Packet {
		if p.Kind == hubwire.KindData && r.IntN(8) == 0 {
			p.Payload[r.IntN(len(p.Payload))] ^= 1 << r.IntN(8)
		}
		return []Packet{p}
	}),
	"ends streams": each(func(r *rand.Rand, p Packet) []Packet {
		if r.IntN(10) > 0 {
			return []Packet{p}
		}
		p.Kind, p.Payload = hubwire.KindClose, []byte{byte(r.IntN(6))}
		return []Packet{p}
	}),
	"connects the wrong two": func(_ *rand.Rand, third device.ID) func(Packet) []Packet {
		meant := map[device.ID]device.ID{} // where what the third answers goes
		return func(p Packet) []Packet {
			if p.From == third {
				p.From = meant[p.To]
				return []Packet{p}
			}
			meant[p.From] = p.To
			p.To = third
			return []Packet{p}
		}
	},
}
