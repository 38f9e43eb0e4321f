package client

import (
	"path/filepath"
	"slices"
)

// installers are scripts that put what `ssh-add -L` prints into a server's
// authorized_keys.
var installers = []string{"ssh-copy-id"}

// maxInstaller is how many processes there may be between such a script and the
// ssh-add that it runs.
const maxInstaller = 3

// InstallsKeys reports whether a process is the ssh-add of a script that installs on
// a server what it prints.
func InstallsKeys(pid int) bool {
	p, ok := ProcessOf(pid)
	if !ok || p.Program() != "ssh-add" {
		return false
	}
	for range maxInstaller {
		if p, ok = ProcessOf(p.Parent); !ok {
			return false
		}
		if runsInstaller(p) {
			return true
		}
	}
	return false
}

// PrintsKeys reports whether a process is an `ssh-add -L` that a person has typed.
// That of a program, as of git's defaultKeyCommand, says nothing.
func PrintsKeys(pid int) bool {
	p, ok := ProcessOf(pid)
	if !ok || p.Program() != "ssh-add" || !slices.Contains(Arguments(pid), "-L") {
		return false
	}
	shell, ok := ProcessOf(p.Parent)
	return ok && Typed(p, shell)
}

// copiesKey reports whether such a script has started the process.
func copiesKey(pid int) bool {
	p, ok := ProcessOf(pid)
	if !ok {
		return false
	}
	script, ok := ProcessOf(p.Parent)
	return ok && runsInstaller(script)
}

// runsInstaller reports whether a process is one of the scripts: run by its name, or
// by a shell that is told to, with or without an option.
func runsInstaller(p Process) bool {
	if slices.Contains(installers, p.Program()) {
		return true
	}
	if !isShell(p.Program()) {
		return false
	}
	words := Arguments(p.PID)
	for n, word := range words[:min(len(words), 3)] {
		if slices.Contains(installers, filepath.Base(word)) {
			return true
		}
		if n > 0 && (word == "" || word[0] != '-') {
			return false // another script, which has it for an argument
		}
	}
	return false
}
