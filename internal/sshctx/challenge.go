package sshctx

import "encoding/binary"

const (
	msgUserAuthTrustRequest = 54 // pam_ssh_agent_auth's own
	challengeService        = "pam_ssh_agent_auth"
	challengeVersion        = 101 // PAM_SSH_AGENT_AUTH_REQUESTv1
	minCookie, maxCookie    = 16, 255
)

// The module tells at most so many arguments, and of each the beginning, in bytes: where
// there are as many, there may have been more.
const (
	MaxArguments = 255
	MaxArgument  = 255
)

// Challenge is what pam_ssh_agent_auth wants to have signed, so that sudo lets somebody
// pass (get_command_line.c, iterate_ssh_agent_keys.c and userauth_pubkey_from_id.c of
// version 0.10.3). It stands where a login has its session ID. The host that the module
// runs on writes all of it, and accepts no signature over a challenge that is not its
// own: an honest host tells the truth, and another one can say what it likes.
type Challenge struct {
	Cookie    []byte   // random
	Account   string   // whom PAM authenticates; for sudo who has called it, for su the other one
	Program   string   // the name of PAM's service: "sudo"
	Directory string   // where it was called
	Arguments []string // with the program's name; nil where the host cannot tell
	Host      string   // the name that the host has given itself
	Time      uint64   // Unix seconds, by the host's clock
}

// parseChallenge reads all of b. caller is whom the bytes around it name.
func parseChallenge(b []byte, caller string) (*Challenge, bool) {
	r := reader{rest: b}
	version := r.uint32()
	c := &Challenge{Cookie: r.bytes(), Account: r.text()}
	called := r.text()
	c.Program, c.Directory = r.text(), r.text()
	arguments := r.bytes()
	c.Host, c.Time = r.text(), r.uint64()
	if !r.done() || version != challengeVersion || len(c.Cookie) < minCookie || len(c.Cookie) > maxCookie ||
		called != caller || caller == "" || c.Account == "" || c.Program == "" {
		return nil, false
	}
	if len(arguments) == 0 {
		return c, true
	}
	list := reader{rest: arguments}
	n := list.uint32()
	if n == 0 || n > MaxArguments {
		return nil, false
	}
	for range n {
		c.Arguments = append(c.Arguments, list.text())
	}
	return c, list.done()
}

// marshal encodes the challenge to the bytes it was parsed from.
func (c *Challenge) marshal(caller string) []byte {
	b := AppendString(binary.BigEndian.AppendUint32(nil, challengeVersion), c.Cookie)
	for _, s := range []string{c.Account, caller, c.Program, c.Directory} {
		b = AppendString(b, s)
	}
	var list []byte
	if len(c.Arguments) > 0 {
		list = binary.BigEndian.AppendUint32(nil, uint32(len(c.Arguments)))
	}
	for _, s := range c.Arguments {
		list = AppendString(list, s)
	}
	return binary.BigEndian.AppendUint64(AppendString(AppendString(b, list), c.Host), c.Time)
}
