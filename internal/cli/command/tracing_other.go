//go:build !linux && !darwin

package command

func ForbidTracing() error { return nil }
