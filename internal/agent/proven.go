package agent

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"vmux/internal/device"
)

// A phone can list any public key, also one whose private half another phone has:
// public keys are public. What it says counts for others' keys only once it has
// proven that it has the key itself, by a signature that verified. Until then it is
// asked like all that list the key, since that is how it proves it, but its refusal
// does not end a request that another phone may answer, and what it says of the key
// (comment, default, servers) gives way.

// hasProven reports whether the phone has signed by the key since it lists it.
func (a *Agent) hasProven(phone device.ID, id *identity) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.keys[phone], func(k AgentKeyInfo) bool {
		return k.Proven && bytes.Equal(k.PublicKeyBlob, id.PublicKeyBlob)
	})
}

// prove remembers that a signature of the phone's by the key has verified. No
// signature waits for the disk.
func (a *Agent) prove(phone device.ID, id *identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.keys[phone], func(k AgentKeyInfo) bool {
		return !k.Proven && bytes.Equal(k.PublicKeyBlob, id.PublicKeyBlob)
	})
	if i < 0 {
		return
	}
	keys := slices.Clone(a.keys[phone]) // what is being written is not changed
	keys[i].Proven = true
	a.keys[phone] = keys
	a.rebuildLocked()
	a.journal.Change()
	a.tasks.run(func(context.Context) {
		a.saving.Lock()
		defer a.saving.Unlock()
		a.saveKeys()
	})
}

// keepProofs carries over what a phone has proven to its new list. A key that it
// did not list meanwhile it has to prove anew.
func keepProofs(keys, before []AgentKeyInfo) {
	for i := range keys {
		keys[i].Proven = slices.ContainsFunc(before, func(k AgentKeyInfo) bool {
			return k.Proven && bytes.Equal(k.PublicKeyBlob, keys[i].PublicKeyBlob)
		})
	}
}

// phonesLocked are the phones that list keys, in the order of their pairing: a
// device can choose its ID, and not when it was paired.
func (a *Agent) phonesLocked() []device.ID {
	phones := slices.SortedFunc(maps.Keys(a.keys), func(x, y device.ID) int {
		if c := a.pairedAt[x].Compare(a.pairedAt[y]); c != 0 {
			return c
		}
		return x.Compare(y)
	})
	return slices.DeleteFunc(phones, func(phone device.ID) bool { return len(a.keys[phone]) == 0 })
}

// speakersLocked tells for each key, by its blob, whose word on it counts: that of the
// first phone that has proven it, else of the first that lists it.
func (a *Agent) speakersLocked(phones []device.ID) map[string]device.ID {
	speakers, proven := map[string]device.ID{}, map[string]bool{}
	for _, phone := range phones {
		for _, k := range a.keys[phone] {
			blob := string(k.PublicKeyBlob)
			if _, ok := speakers[blob]; !ok || k.Proven && !proven[blob] {
				speakers[blob], proven[blob] = phone, k.Proven
			}
		}
	}
	return speakers
}

// believed leaves out what changes the order of all keys, unless the phone has proven
// this one. The phone that was paired first has nobody to push aside.
func believed(k AgentKeyInfo, first bool) AgentKeyInfo {
	if !k.Proven && !first {
		k.Default, k.Hosts = false, nil
	}
	return k
}
