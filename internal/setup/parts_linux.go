package setup

// Parts are those that there are here, in the order in which they are made.
var Parts = []string{PartSSH, PartService, PartEnvironment, PartShell}
