package phonecmd

import (
	"context"

	"golang.org/x/crypto/ssh"
)

// What a shell offers at Tab.

// Algorithms are those of a new key, as `--algorithm` takes them.
var Algorithms = []string{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoED25519, ssh.KeyAlgoRSA, "ecdsa", "ed25519", "rsa"}

// Labels are the labels of this phone's identities.
func Labels(ctx context.Context) (names []string) {
	list, _ := identities(ctx, nothing{})
	for _, i := range list {
		names = append(names, i.Label)
	}
	return names
}

// Computers are the names of those that this phone is paired with.
func Computers(ctx context.Context) (names []string) {
	peers, _ := pairedComputers(ctx, nothing{})
	for _, peer := range peers {
		names = append(names, peer.Name.String())
	}
	return names
}
