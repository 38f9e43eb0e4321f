package sshctx

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// The bytes that Debian's libpam-ssh-agent-auth 0.10.3-4 had signed for
// `sudo -u games id "a b"`.
func TestChallengeOfTheModule(t *testing.T) {
	text, err := os.ReadFile("testdata/sudo.hex")
	if err != nil {
		t.Fatal(err)
	}
	data, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Challenge; c.Kind != Sudo || c.User != "ada" || got.Account != "ada" || got.Program != "sudo" || got.Host != "web-1" ||
		got.Directory != "/home/ada" || !slices.Equal(got.Arguments, []string{"sudo", "-u", "games", "id", "a b"}) {
		t.Errorf("%+v, %+v", c, got)
	}
	if !bytes.Equal(c.Marshal(), data) {
		t.Errorf("%x encodes to %x", data, c.Marshal())
	}
}

// attacker: a host that has sudo's challenge pass for a login, or a login for sudo's challenge.
// Nothing is both: they differ in the message's number and in the service, and what has
// one of a login and one of a challenge is neither.
func TestChallengesAreNoLogins(t *testing.T) {
	all := examples()
	login, sudo := all[0], all[4]
	if sudo.IsLogin() {
		t.Error("a challenge is a login")
	}
	for name, change := range map[string]func(c *Context){
		"the service of a login":      func(c *Context) { c.Service = service },
		"another caller":              func(c *Context) { c.User = "root" },
		"no caller":                   func(c *Context) { c.User = "" },
		"no account":                  func(c *Context) { c.Challenge.Account = "" },
		"no program":                  func(c *Context) { c.Challenge.Program = "" },
		"a short cookie":              func(c *Context) { c.Challenge.Cookie = c.Challenge.Cookie[1:] },
		"a long cookie":               func(c *Context) { c.Challenge.Cookie = make([]byte, 256) },
		"more arguments than can be":  func(c *Context) { c.Challenge.Arguments = make([]string, 256) },
		"an algorithm of another key": func(c *Context) { c.Algorithm = "ssh-rsa" },
	} {
		changed, challenge := sudo, *sudo.Challenge
		changed.Challenge = &challenge
		change(&changed)
		b := changed.Marshal()
		if name == "another caller" { // that of the challenge stays
			b = bytes.Replace(b, AppendString([]byte{54}, "root"), AppendString([]byte{54}, "ada"), 1)
		}
		if c, err := Parse(b); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	number := func(c Context, from, to byte) []byte {
		b := c.Marshal()
		return bytes.Replace(b, AppendString([]byte{from}, c.User), AppendString([]byte{to}, c.User), 1)
	}
	for name, b := range map[string][]byte{
		"a challenge by a login's number":  number(sudo, msgUserAuthTrustRequest, msgUserAuthRequest),
		"a login by a challenge's number":  number(login, msgUserAuthRequest, msgUserAuthTrustRequest),
		"a login for a challenge's module": Context{Kind: UserAuth, SessionID: login.SessionID, User: "ada", Service: challengeService, Algorithm: login.Algorithm, PublicKey: login.PublicKey}.Marshal(),
	} {
		if c, err := Parse(b); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}
