package setup

import (
	"path/filepath"
	"strings"
)

// The agents of launchd, by their labels (launchd.plist(5)). They have never run on a
// Mac: what stands in them is compared with what their manual page says, and no more.
const (
	launchdAgent       = "vmux.agent"
	launchdEnvironment = "vmux.environment"
	launchdPhone       = "vmux.phone"
)

// markedXML is what marked is in other files: an XML comment has no two dashes.
const markedXML = "<!-- vmux: vmux setup, with its flag undo, takes this out. -->\n"

// launchdService is a command of vmux from the login on. The agent opens its socket itself:
// what launchd holds can be taken over by a call of Apple's library only.
func (w Wish) launchdService(label string, command ...string) []Change {
	logs := filepath.Join(w.Home, "Library", "Logs", strings.ReplaceAll(label, ".", "-")+".log")
	var environment strings.Builder
	for _, e := range w.Environment {
		name, value, _ := strings.Cut(e, "=")
		environment.WriteString("    <key>" + xmlText(name) + "</key><string>" + xmlText(value) + "</string>\n")
	}
	if environment.Len() > 0 {
		environment.WriteString("  </dict>\n")
	}
	return w.launchdFile(label, append([]string{w.Program}, command...), "  <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>\n"+
		"  <key>StandardErrorPath</key><string>"+xmlText(logs)+"</string>\n"+
		strings.Replace(environment.String(), "    <key>", "  <key>EnvironmentVariables</key>\n  <dict>\n    <key>", 1))
}

// launchctlSetenv tells the programs that are started from the Dock or the Finder after
// it: they have no shell's environment.
func (w Wish) launchctlSetenv() []Change {
	return w.launchdFile(launchdEnvironment, []string{"/bin/launchctl", "setenv", "SSH_AUTH_SOCK", w.Socket}, "")
}

func (w Wish) launchdFile(label string, arguments []string, more string) []Change {
	folder := filepath.Join(w.Home, "Library", "LaunchAgents")
	var words strings.Builder
	for _, a := range arguments {
		words.WriteString("    <string>" + xmlText(a) + "</string>\n")
	}
	return []Change{
		{Path: filepath.Join(folder, label+".plist"), Own: true, mode: 0o644, Lines: `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
` + markedXML + `<plist version="1.0">
<dict>
  <key>Label</key><string>` + label + `</string>
  <key>ProgramArguments</key>
  <array>
` + words.String() + `  </array>
  <key>RunAtLoad</key><true/>
` + more + `</dict>
</plist>
`},
		{Path: folder, Unit: label},
	}
}

func xmlText(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
