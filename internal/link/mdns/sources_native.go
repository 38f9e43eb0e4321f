//go:build darwin || windows

package mdns

// The system's own resolver, which Go asks here, knows multicast DNS.
var sources = []source{systemResolver(false), askEverybody}
