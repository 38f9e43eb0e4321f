//go:build !linux && !darwin

package cli

func forbidTracing() error { return nil }
