// Package test is the product as its users have it: the real programs, the
// real ssh, sshd and ssh-add of two OpenSSH versions, and other people's SSH
// clients. Parts are tested beside their code.
package test
