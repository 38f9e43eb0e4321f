package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net"

	"golang.org/x/crypto/ssh/agent"
)

// plainAgent is the agent that anybody would write in Go in half an hour. It
// makes a P-256 key and serves until it is killed.
func plainAgent(socket string) error {
	keyring := agent.NewKeyring()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if err := keyring.Add(agent.AddedKey{PrivateKey: key, Comment: "bench"}); err != nil {
		return err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			agent.ServeAgent(keyring, c)
		}()
	}
}
