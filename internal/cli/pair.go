package cli

import "vmux/internal/device"

// pairAnswer is one of the two lines of `vmux pair --json`.
type pairAnswer struct {
	Invitation string       `json:"invitation,omitempty"`
	Paired     *device.Peer `json:"paired,omitempty"`
}
