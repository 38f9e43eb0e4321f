package sshconfig

// OneCommand are ssh's options for one command on a server, without what a person has
// configured for sessions of their own there: with a RemoteCommand ssh refuses any other
// command, ExitOnForwardFailure ends a login whose tunnel is open already, and a
// LocalCommand writes between the answers.
var OneCommand = []string{
	"-T", "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes", "-o", "ForwardAgent=no",
	"-o", "PermitLocalCommand=no", "-o", "ControlPath=none",
}
