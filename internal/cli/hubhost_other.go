//go:build !darwin

package cli

const hubHost = ownName
