package cli

// hubHost is a local hub's name: macOS's resolver, which Safari asks, does not know
// every name below localhost.
const hubHost = "localhost"
