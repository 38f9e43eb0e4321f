// Package wiretest makes what comes over a link, for tests.
package wiretest

import (
	"encoding/binary"
	"encoding/json"

	"vmux/internal/wire"
)

// Envelope makes what the other end of a link reads out of wire.NewFrame's frame.
func Envelope(id string, kind wire.Kind, body any) (wire.Envelope, error) {
	e := wire.Envelope{Version: wire.Version, ID: id, Kind: kind}
	if body == nil {
		return e, nil
	}
	b, err := json.Marshal(body)
	e.Body = b
	return e, err
}

// Frame is an envelope as it stands on a link, whatever is wrong with it.
func Frame(e wire.Envelope) ([]byte, error) {
	b, err := json.Marshal(e)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...), err
}
