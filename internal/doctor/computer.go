package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"

	"vmux/internal/control"
	"vmux/internal/sshconfig"
)

// The checks of this file are about the agent, and who finds it.

func unanswered(f Facts) []Finding {
	if len(f.Late) == 0 {
		return nil
	}
	return warn("late", "run vmux doctor again; what is named takes too long here", "no answer in time: %s", strings.Join(f.Late, ", "))
}

func agentRuns(f Facts) []Finding {
	switch {
	case f.Status != nil:
		return fine("runs", "vmux %s, process %d", f.Status.Version, f.Status.PID)
	case errors.Is(f.AgentErr, control.ErrNotRunning) && f.Service.Failed:
		return fail("service-failed", f.Service.Log+" tells why; once that is mended: "+f.Service.Start, "the agent's service has failed")
	case errors.Is(f.AgentErr, control.ErrNotRunning) && f.Service.Enabled:
		return fail("not-running", f.Service.Start, "the agent does not run")
	case errors.Is(f.AgentErr, control.ErrNotRunning):
		return fail("not-running", "vmux agent", "the agent does not run")
	case f.AgentErr == nil:
		return nil
	}
	return fail("no-answer", f.restart(), "the agent does not answer: %s", f.AgentErr.Error())
}

// word is a path as one word of a shell: macOS has state in "Application Support".
func word(path string) string {
	if !strings.ContainsAny(path, " \t'\"\\$`&;|<>()*?[]#!") {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// restart is the command that starts the agent anew.
func (f Facts) restart() string {
	return cmp.Or(f.Service.Restart, "end the agent and start it again: vmux agent")
}

func socketAnswers(f Facts) []Finding {
	switch {
	case f.Status == nil:
		return nil
	case errors.Is(f.Socket.Err, fs.ErrNotExist):
		return fail("missing", f.restart(), "the agent's socket %s is gone", f.Socket.Path)
	case errors.Is(f.Socket.Err, syscall.ECONNREFUSED):
		return fail("nobody-there", f.restart(), "nobody serves the agent's socket %s any more", f.Socket.Path)
	case f.Socket.Err != nil:
		return fail("no-list", f.restart(), "the agent's socket %s lists no keys: %s", f.Socket.Path, f.Socket.Err.Error())
	case f.Socket.Mode&0o077 != 0:
		return warn("mode", "chmod 600 "+word(f.Socket.Path), "the agent's socket has mode %04o", f.Socket.Mode.Perm())
	}
	return fine("answers", "%s answers", f.Socket.Path)
}

func permissions(f Facts) (all []Finding) {
	for _, file := range f.Files {
		switch {
		case !file.Owned:
			all = append(all, fail("owner", "sudo chown -R $(id -u) "+word(file.Path), "%s belongs to somebody else", file.Path)...)
		case file.Mode&0o022 != 0:
			all = append(all, fail("writable", "chmod go-w "+word(file.Path), "others can write to %s", file.Path)...)
		}
	}
	if len(all) == 0 && len(f.Files) > 0 {
		return fine("private", "nobody else can change the agent's state and ~/.ssh")
	}
	return all
}

func lock(f Facts) []Finding {
	if f.Status == nil || !f.Status.Locked {
		return nil
	}
	return fail("locked", "SSH_AUTH_SOCK="+word(f.Socket.Path)+" ssh-add -X", "the agent is locked: it lists no keys and signs nothing")
}

// Versions of OpenSSH's client that something begins with: the session binding, by which
// the agent knows the server (8.9), and signatures of passkeys (10.3).
func sshVersion(f Facts) []Finding {
	v := f.SSH.version()
	passkeys, others := 0, 0
	if f.Status != nil {
		for _, i := range f.Status.Identities {
			switch {
			case i.Certificate:
			case strings.HasPrefix(i.Algorithm, "sk-"):
				passkeys++
			default:
				others++
			}
		}
	}
	switch {
	case f.SSH.Missing:
		return fail("missing", "install OpenSSH's client: the package openssh-client, on Fedora openssh-clients, elsewhere openssh", "there is no ssh on the PATH")
	case v.before(10, 3) && passkeys > 0 && others == 0:
		return fail("no-passkeys", "make a vault key in the phone's app, or update OpenSSH to 10.3", "OpenSSH %s cannot use passkeys, and the phone has no other key", v)
	case v.before(8, 9):
		return warn("no-binding", "update OpenSSH to 8.9 or newer", "OpenSSH %s does not tell the agent which server it is about to log in to", v)
	case v.before(10, 3) && passkeys > 0:
		return warn("no-passkeys", "vmux agent --passkeys never, or update OpenSSH to 10.3", "OpenSSH %s cannot use passkeys: of the phone's keys, %d", v, passkeys)
	}
	return fine("version", "OpenSSH %s", v)
}

func sshConfig(f Facts) []Finding {
	s := f.SSH
	switch {
	case s.Missing:
		return nil
	case s.ConfigErr != "":
		return fail("refused", "correct what ssh names, then: ssh -G localhost", "ssh refuses its configuration: %s", s.ConfigErr)
	case s.Config == nil:
		return nil
	case s.one("pubkeyauthentication") == "no" || s.one("pubkeyauthentication") == "false":
		return fail("keys-off", "take the line PubkeyAuthentication out of ~/.ssh/config", "ssh offers no keys: PubkeyAuthentication no")
	case len(s.Config["preferredauthentications"]) > 0 && !slices.Contains(strings.Split(s.one("preferredauthentications"), ","), "publickey"):
		return fail("keys-off", "add publickey to PreferredAuthentications in ~/.ssh/config", "ssh offers no keys: PreferredAuthentications lacks publickey")
	case s.one("identitiesonly") == "yes" && !s.KeyNamed && f.listed() > 0:
		return fail("identities-only", "ssh-add -L | head -n 1 > ~/.ssh/phone.pub, and below the host: IdentityFile ~/.ssh/phone.pub",
			"ssh offers keys that its configuration names, and no other: IdentitiesOnly yes, and no IdentityFile is a key of the phone")
	case len(f.leftOut()) > 0 && len(f.leftOut()) == f.listed():
		return fail("algorithms", leftOutHint, "ssh offers no key of the phone's: its configuration leaves out %s", strings.Join(f.leftOut(), ", "))
	case len(f.leftOut()) > 0:
		return warn("algorithms", leftOutHint, "ssh does not offer all of the phone's keys: its configuration leaves out %s", strings.Join(f.leftOut(), ", "))
	case s.NoCert != "":
		return warn("no-certificate-file", "take the line CertificateFile out, or: vmux cert request", "CertificateFile %s is not there", s.NoCert)
	}
	return fine("keys", "nothing in it keeps ssh from an agent's keys")
}

const leftOutHint = "make a key of another kind on the phone; or change what is named, if it is not a policy of this computer (update-crypto-policies, FIPS)"

// leftOut are those keys, by their algorithms, that ssh does not offer, whatever the server takes.
func (f Facts) leftOut() (all []string) {
	list := cmp.Or(f.SSH.one("pubkeyacceptedalgorithms"), f.SSH.one("pubkeyacceptedkeytypes")) // before OpenSSH 8.5
	if list == "" || f.Status == nil {
		return nil
	}
	shortest, _ := strconv.Atoi(f.SSH.one("requiredrsasize")) // since OpenSSH 9.1; none before
	for _, id := range f.Status.Identities {
		taken := func(name string) bool {
			rsa := id.Algorithm == ssh.KeyAlgoRSA && (name == ssh.KeyAlgoRSASHA256 || name == ssh.KeyAlgoRSASHA512)
			return name == id.Algorithm || rsa || name == "webauthn-"+id.Algorithm
		}
		bits := sshconfig.RSABits(id.PublicKey)
		switch {
		case id.Certificate:
		case !slices.ContainsFunc(strings.Split(list, ","), taken):
			all = append(all, id.Algorithm+" (PubkeyAcceptedAlgorithms)")
		case bits > 0 && bits < shortest:
			all = append(all, fmt.Sprintf("%s of %d bits (RequiredRSASize)", id.Algorithm, bits))
		}
	}
	return all
}

// listed is how many keys of phones the agent knows.
func (f Facts) listed() int {
	n := 0
	if f.Status != nil {
		for _, i := range f.Status.Identities {
			if !i.Certificate {
				n++
			}
		}
	}
	return n
}

// shell is which agent ssh asks in this shell: IdentityAgent wins over the environment.
func shell(f Facts) []Finding {
	socket := f.Socket.Path
	set := f.SSH.one("identityagent")
	switch {
	case f.SSH.Config == nil || socket == "":
		return nil
	case set == "none":
		return fail("none", "in ~/.ssh/config: IdentityAgent "+socket, "ssh asks no agent: IdentityAgent none")
	case set != "" && set != "SSH_AUTH_SOCK" && !f.SSH.Agent.Ours:
		return fail("identity-agent", "in ~/.ssh/config: IdentityAgent "+socket, "ssh asks %s, and not vmux: IdentityAgent %s", f.SSH.Agent.Name, set)
	case f.SSH.Agent.Ours && f.Env.Ours:
		return fine("both", "ssh and ssh-add ask vmux")
	case f.SSH.Agent.Ours:
		return fine("identity-agent", "ssh asks vmux, by IdentityAgent; ssh-add and what does not read ~/.ssh/config need: export SSH_AUTH_SOCK=%s", word(socket))
	case f.Env.Ours:
		return fine("environment", "ssh asks vmux, by SSH_AUTH_SOCK")
	case f.Env.Path == "":
		return fail("no-agent", "export SSH_AUTH_SOCK="+word(socket), "ssh finds no agent: SSH_AUTH_SOCK is not set here, and there is no IdentityAgent")
	}
	return fail("other-agent", "export SSH_AUTH_SOCK="+word(socket), "ssh asks %s, and not vmux: SSH_AUTH_SOCK=%s", f.Env.Name, f.Env.Path)
}

func desktop(f Facts) []Finding {
	d := f.Desktop
	switch {
	case !d.Known || f.Socket.Path == "":
		return nil
	case d.Ours && d.Untold:
		return warn("not-read", "log in anew; if it is said again, in ~/.profile: export SSH_AUTH_SOCK="+word(f.Socket.Path),
			"systemd was told of vmux, and the desktop that has started this terminal was not")
	case d.Ours:
		return fine("finds", "programs that the desktop starts find vmux")
	case d.Path == "":
		return warn("no-agent", desktopHint(f.Socket.Path), "programs that the desktop starts find no agent")
	}
	return warn("other-agent", desktopHint(f.Socket.Path), "programs that the desktop starts ask %s: SSH_AUTH_SOCK=%s", d.Name, d.Path)
}

func otherAgents(f Facts) []Finding {
	if f.Status != nil && f.Status.Upstream != nil && f.Status.Upstream.Error != "" {
		u := f.Status.Upstream
		return warn("upstream", cmp.Or(u.Hint, "vmux status"), "the agent behind vmux, %s, does not answer: %s", u.Socket, u.Error)
	}
	if len(f.Others) == 0 {
		return nil
	}
	return fine("run", "%s too; who asks for keys asks the one that is named above", strings.Join(f.Others, ", "))
}

func service(f Facts) []Finding {
	switch {
	case !f.Service.Known || f.Service.Failed:
		return nil
	case !f.Service.Enabled:
		return warn("not-enabled", serviceHint, "the agent is not started at login")
	}
	return fine("enabled", "the agent is started at login")
}
