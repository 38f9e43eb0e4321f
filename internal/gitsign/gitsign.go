// Package gitsign stands between git and ssh-keygen: it reads how git calls
// `ssh-keygen -Y` and what git wants signed, so that the phone can be told. It
// signs and verifies nothing itself: ssh-keygen does.
package gitsign

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"strings"

	"vmux/internal/wire"
)

// Namespace is the SSHSIG namespace of git's signatures (git's
// gpg-interface.c).
const Namespace = "git"

// MaxObject bounds what is read of the commit or tag to be signed, in bytes. A
// longer one is signed without being described.
const MaxObject = 4 << 20

// Call is how ssh-keygen is called, in as far as it matters here.
type Call struct {
	Sign      bool   // -Y sign
	Namespace string // -n
	KeyFile   string // -f
	Hash      string // "sha256" or "sha512", -O hashalg=
	File      string // what is to be signed; empty: standard input
}

// ParseCall reads ssh-keygen's arguments. It never fails: what is no call to
// sign is for ssh-keygen to judge.
func ParseCall(args []string) Call {
	c := Call{Hash: "sha512"} // ssh-keygen(1): the default
	for i := 0; i < len(args); i++ {
		flag, value, more := splitFlag(args[i:])
		switch flag {
		case "":
			c.File = args[i]
		case "-Y":
			c.Sign = value == "sign"
		case "-n":
			c.Namespace = value
		case "-f":
			c.KeyFile = value
		case "-O":
			if hash, ok := strings.CutPrefix(value, "hashalg="); ok {
				c.Hash = hash
			}
		}
		i += more
	}
	return c
}

// splitFlag reads one option as getopt(3) does: `-f FILE` and `-fFILE`; of the
// options of `-Y sign`, -U, -q and -v take no value.
func splitFlag(args []string) (flag, value string, more int) {
	word := args[0]
	if len(word) < 2 || word[0] != '-' {
		return "", "", 0
	}
	flag = word[:2]
	switch {
	case strings.ContainsAny(flag[1:], "Uqv"):
		return flag, "", 0
	case len(word) > 2:
		return flag, word[2:], 0
	case len(args) > 1:
		return flag, args[1], 1
	}
	return flag, "", 0
}

// HashOf is what an SSHSIG message carries of the object: the algorithm, a
// colon, and the digest in hexadecimal. It is empty for an unknown algorithm.
func HashOf(algorithm string, object []byte) string {
	switch algorithm {
	case "sha256":
		sum := sha256.Sum256(object)
		return Hash(algorithm, sum[:])
	case "sha512":
		sum := sha512.Sum512(object)
		return Hash(algorithm, sum[:])
	}
	return ""
}

// Hash writes a digest as HashOf does.
func Hash(algorithm string, digest []byte) string {
	return algorithm + ":" + hex.EncodeToString(digest)
}

// Describe says what the object is, in text that is fit to be shown. ok is
// false for what is neither a commit nor a tag.
func Describe(object []byte, repository string) (described wire.GitObject, ok bool) {
	header, message, found := bytes.Cut(object, []byte("\n\n"))
	if !found {
		return wire.GitObject{}, false
	}
	described.Repository = wire.Show(repository)
	for i, line := range strings.Split(string(header), "\n") {
		name, value, _ := strings.Cut(line, " ")
		switch {
		case i == 0 && name == "tree":
			described.Kind = "commit"
		case i == 0 && name == "object":
			described.Kind = "tag"
		case i == 0:
			return wire.GitObject{}, false
		case described.Author == "" && (name == "author" || name == "tagger"):
			described.Author = wire.Show(person(value))
		}
	}
	subject, _, _ := strings.Cut(strings.TrimLeft(string(message), "\n"), "\n")
	described.Subject = wire.Show(subject)
	return described, true
}

// person leaves out the time behind "NAME <EMAIL> SECONDS ZONE".
func person(value string) string {
	if end := strings.LastIndexByte(value, '>'); end >= 0 {
		return value[:end+1]
	}
	return value
}
