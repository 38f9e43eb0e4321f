package agent

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

// installsKeys reports whether a client is the ssh-add of a program that installs on
// a server what it prints. It is not given the session certificate: in
// authorized_keys that would stand for ever, and is of no use once it has expired.
func installsKeys(pid int) bool {
	p, ok := processOf(pid)
	if !ok || p.program() != "ssh-add" {
		return false
	}
	for range maxInstaller {
		pid = p.parent
		if p, ok = processOf(pid); !ok {
			return false
		}
		if runsInstaller(p, wordsOf(argumentsOf(pid))) {
			return true
		}
	}
	return false
}

// printsKeys reports whether a client is an `ssh-add -L` that a person has typed. That
// of a program, as of git's defaultKeyCommand, says nothing.
func printsKeys(pid int) bool {
	p, ok := processOf(pid)
	if !ok || p.program() != "ssh-add" || !slices.Contains(wordsOf(argumentsOf(pid)), "-L") {
		return false
	}
	shell, ok := processOf(p.parent)
	return ok && typed(p, shell)
}

// runsInstaller reports whether a process is one of the scripts: run by its name, or
// by a shell that is told to, with or without an option.
func runsInstaller(p process, words []string) bool {
	if slices.Contains(installers, p.program()) {
		return true
	}
	if !isShell(p.program()) {
		return false
	}
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
