//go:build !linux

package setup

// Parts are those that there are here, in the order in which they are made: launchd's
// service is written by hand still.
var Parts = []string{PartSSH, PartShell}
