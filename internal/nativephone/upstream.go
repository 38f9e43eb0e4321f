package nativephone

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"vmux/internal/signer/identity"
	"vmux/internal/wire"
)

// upstreamDial bounds the connection to an upstream agent; the signature itself
// waits as long as the request does, since it may ask for a touch.
const upstreamDial = 5 * time.Second

// Upstream signs with the keys of another SSH agent on this machine: hardware
// tokens through the tools that already serve them. Identity.Ref is its socket.
type Upstream struct{}

// Kind implements identity.Provider.
func (Upstream) Kind() wire.ProviderKind { return wire.ProviderHardwareToken }

// Sign implements identity.Provider. The upstream agent does its own unlocking.
func (Upstream) Sign(ctx context.Context, id identity.Identity, data []byte, algorithm string, _ identity.Unlock) (*ssh.Signature, error) {
	conn, err := dialAgent(ctx, id.Ref)
	if err != nil {
		return nil, wire.Errorf(wire.CodeKeyNotFound, "the agent that holds %s does not answer on the phone", id.Label)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	key, err := ssh.ParsePublicKey(id.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	var flags agent.SignatureFlags
	switch algorithm {
	case ssh.KeyAlgoRSASHA256:
		flags = agent.SignatureFlagRsaSha256
	case ssh.KeyAlgoRSASHA512:
		flags = agent.SignatureFlagRsaSha512
	}
	signature, err := agent.NewClient(conn).SignWithFlags(key, data, flags)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, wire.Errorf(wire.CodeAuthenticationFailed, "the agent that holds %s refused to sign", id.Label)
	}
	if signature.Format != algorithm {
		return nil, wire.Errorf(wire.CodeAlgorithmUnsupported, "the agent that holds %s makes %s only", id.Label, signature.Format)
	}
	if err := key.Verify(data, signature); err != nil {
		return nil, fmt.Errorf("signature of the upstream agent: %w", err)
	}
	return signature, nil
}

// UpstreamKeys lists the keys of the agent at socket, certificates left out:
// those come from the phone's own CA.
func UpstreamKeys(ctx context.Context, socket string) ([]*agent.Key, error) {
	conn, err := dialAgent(ctx, socket)
	if err != nil {
		return nil, fmt.Errorf("reach the agent at %s: %w", socket, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(upstreamDial)); err != nil {
		return nil, fmt.Errorf("bound the wait for %s: %w", socket, err)
	}
	all, err := agent.NewClient(conn).List()
	if err != nil {
		return nil, fmt.Errorf("list the keys of the agent at %s: %w", socket, err)
	}
	var keys []*agent.Key
	for _, k := range all {
		if !strings.Contains(k.Format, "-cert-v01@") && len(keys) < wire.MaxKeys {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func dialAgent(ctx context.Context, socket string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, upstreamDial)
	defer cancel()
	var d net.Dialer
	return d.DialContext(ctx, "unix", socket)
}
