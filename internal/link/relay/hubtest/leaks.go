package hubtest

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
)

// Seen is one message that a device has sent to the hub.
type Seen struct {
	From device.ID // zero: not proven yet
	Text bool
	Body []byte
}

// fields are what a device may tell its hub in the clear, beside the type and
// the ID of a request. What the values may be, plain says.
var fields = map[hubwire.Type][]string{
	hubwire.TypeProof:      {"publicKey", "signature", "allow"},
	hubwire.TypeAllow:      {"allow"},
	hubwire.TypeRendezvous: {"token", "seconds"},
	hubwire.TypeSubscribe:  {"subscription"},
	hubwire.TypeWake:       {"peer"},
	hubwire.TypePing:       {},
}

// Leaks accounts for every byte that devices have sent, and returns what is
// neither the hub's own vocabulary nor TLS between devices: there is no other
// place for a field of a message between them to be.
func (h *Hub) Leaks() (leaks []string) {
	h.mu.Lock()
	seen := slices.Clone(h.seen)
	h.mu.Unlock()
	type end struct {
		from, to device.ID
		number   uint64
	}
	streams := map[end][]byte{}
	for _, s := range seen {
		if s.Text {
			if err := plain(s.Body); err != nil {
				leaks = append(leaks, fmt.Sprintf("%v: %s", err, s.Body))
			}
			continue
		}
		f, err := hubwire.ParseFrame(s.Body)
		switch {
		case err != nil:
			leaks = append(leaks, fmt.Sprintf("%v: %q", err, s.Body))
		case f.Kind == hubwire.KindData:
			key := end{s.From, f.Peer, f.Stream}
			streams[key] = append(streams[key], f.Payload...)
		}
	}
	for _, b := range streams {
		if err := sealed(b); err != nil {
			leaks = append(leaks, fmt.Sprintf("%v: %q", err, b[:min(len(b), 200)]))
		}
	}
	return leaks
}

// plain checks a text message to the hub: known fields, and in them keys, IDs,
// tokens and numbers, nothing that somebody wrote.
func plain(b []byte) error {
	var found map[string]json.RawMessage
	if err := json.Unmarshal(b, &found); err != nil {
		return err
	}
	m, err := hubwire.ParseMessage(b)
	if err != nil {
		return err
	}
	may, known := fields[m.Type]
	if !known {
		return fmt.Errorf("a message of type %q", m.Type)
	}
	for name := range found {
		if name != "type" && name != "id" && !slices.Contains(may, name) {
			return fmt.Errorf("a field %q in a message of type %s", name, m.Type)
		}
	}
	if len(m.Signature) > 72 { // ECDSA of P-256 in ASN.1
		return fmt.Errorf("a signature of %d bytes", len(m.Signature))
	}
	if m.Type == hubwire.TypeProof {
		key, err := x509.ParsePKIXPublicKey(m.PublicKey)
		if err != nil {
			return err
		}
		if again, err := x509.MarshalPKIXPublicKey(key); err != nil || !bytes.Equal(again, m.PublicKey) {
			return fmt.Errorf("a public key with more than a key in it")
		}
	}
	return nil
}

// sealed checks that a stream is one of TLS 1.3 (RFC 8446 section 5.1): a hello
// and then nothing but what is encrypted. A stream may have been cut off.
func sealed(b []byte) error {
	const (
		changeCipherSpec, alert, handshake, applicationData = 20, 21, 22, 23
		header, clientHello, serverHello                    = 5, 1, 2
	)
	for hellos := 0; len(b) > 0; {
		if len(b) < header {
			return nil
		}
		n := int(binary.BigEndian.Uint16(b[3:]))
		body := b[header:min(len(b), header+n)]
		switch {
		case b[1] != 3:
			return fmt.Errorf("no TLS record")
		case b[0] == applicationData && hellos > 0, b[0] == alert && n == 2, b[0] == changeCipherSpec && n == 1:
		case b[0] == handshake && hellos < 2 && len(body) > 0 && (body[0] == clientHello || body[0] == serverHello):
			hellos++ // a second one after a hello retry request
		default:
			return fmt.Errorf("a TLS record in the clear, type %d, %d bytes", b[0], n)
		}
		b = b[header+len(body):]
	}
	return nil
}
