package client

import (
	"slices"
	"strings"
)

// maxStarters bounds how far the chain of parents is followed.
const maxStarters = 16

// Starter finds the program that began what asks: the first ancestor that is
// neither ssh nor git, nor a shell or another program that was started to run
// them; and the process below it, which a person would have typed.
func Starter(asker Process) (begun, starter Process, ok bool) {
	begun = asker
	for range maxStarters {
		if starter, ok = ProcessOf(begun.Parent); !ok || starter.PID == 0 {
			return begun, starter, false
		}
		if !helps(starter) {
			return begun, starter, true
		}
		begun = starter
	}
	return begun, starter, false
}

// Typed tells whether a person at a terminal started the process: a shell with
// job control gives each command line a process group of its own, and what a
// program starts by itself stays in that program's group.
func Typed(p, parent Process) bool { return p.Terminal && p.Group != parent.Group }

// passOn are programs that run another one that they are given, and what calls git
// or ssh by itself: each attempt has its own.
var passOn = []string{
	"sftp", "scp", "rsync", "timeout", "flock", "env", "nice", "nohup", "setsid", "stdbuf", "xargs", "sshpass", "sudo", "doas",
	"hg", "svn", "jj", "gh", "glab",
}

// helps reports whether a process only stands between ssh and what began it.
func helps(p Process) bool {
	name := p.Program()
	if isShell(name) {
		parent, ok := ProcessOf(p.Parent)
		if !ok {
			return false
		}
		// An editor runs `sh -c 'git fetch; …'`, watch(1) does each time. What the
		// system itself has started is a service, and its shell may be the loop.
		above := parent.Program()
		return isSSHOrGit(above) || p.Parent > 1 && above != "systemd" && runsLine(Arguments(p.PID))
	}
	return isSSHOrGit(name) || slices.Contains(passOn, name)
}

// runsLine reports whether a shell was given its commands on its command line.
func runsLine(words []string) bool {
	for i := 1; i < len(words); i++ {
		switch w := words[i]; {
		case w == "-o" || w == "+o" || w == "-O" || w == "+O":
			i++ // its value
		case strings.HasPrefix(w, "--"):
		case strings.HasPrefix(w, "-") && strings.Contains(w, "c"):
			return true
		case !strings.HasPrefix(w, "-"):
			return false
		}
	}
	return false
}

func isShell(name string) bool {
	switch name {
	case "sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish", "busybox":
		return true
	}
	return false
}

// isSSHOrGit knows git's own programs too: git-remote-ssh, git-lfs.
func isSSHOrGit(name string) bool {
	return name == "ssh" || name == "git" || strings.HasPrefix(name, "git-")
}
