package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"vmux/internal/device"
)

// alpn keeps the link apart from any other TLS service at the same address.
const alpn = "vmux/1"

// baseTLS is TLS 1.3 with the standard library's choice of key exchange, which
// is the post-quantum hybrid X25519MLKEM768 first. Certificates are nothing but
// envelopes of device keys, so the library's verification by CA and name gives
// way to check, which sees the peer's certificate in every handshake: there are
// no session tickets and thus no resumption.
func baseTLS(key *device.Key, check func(device.ID) error) *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{key.Certificate()},
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{alpn},
		SessionTicketsDisabled: true,
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if cs.NegotiatedProtocol != alpn {
				return errors.New("the other side does not speak " + alpn)
			}
			id, err := peerID(&cs)
			if err != nil {
				return err
			}
			return check(id)
		},
	}
}

// peerID returns the device that the handshake proved. The one certificate is
// the whole chain: the handshake proves possession of the first one's key only.
func peerID(cs *tls.ConnectionState) (device.ID, error) {
	if len(cs.PeerCertificates) != 1 {
		return device.ID{}, errors.New("want exactly one certificate of the other device")
	}
	return device.IDOf(cs.PeerCertificates[0]), nil
}

// secureTo returns the client's side of the handshake, which passes with the
// device want and no other.
func (n *Node) secureTo(want device.ID) Secure {
	config := baseTLS(n.key, func(id device.ID) error {
		if id != want {
			return ErrWrongDevice
		}
		return nil
	})
	return func(ctx context.Context, c net.Conn) (*tls.Conn, error) {
		return n.handshake(ctx, tls.Client(c, config))
	}
}

// handshake runs it within the time for a handshake, and leaves a deadline
// on the connection for the hello that follows.
func (n *Node) handshake(ctx context.Context, c *tls.Conn) (*tls.Conn, error) {
	_ = c.SetDeadline(time.Now().Add(handshakeTime))
	if err := c.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return c, nil
}
