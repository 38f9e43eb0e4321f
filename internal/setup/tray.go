package setup

import (
	"path/filepath"
	"strings"
)

// tray has the desktop start vmux-tray (the freedesktop Autostart and Desktop Entry
// Specifications).
func (w Wish) tray() []Change {
	if w.Tray == "" {
		return nil
	}
	return []Change{{
		Path: filepath.Join(w.configurations(), "autostart", "vmux-tray.desktop"), Own: true, mode: 0o644,
		Lines: marked + "[Desktop Entry]\nType=Application\nName=vmux\nComment=SSH keys on your phone\nExec=" + desktopQuote(w.Tray) + "\n",
	}}
}

// desktopQuote makes one word of s in Exec: what is special within the quotes has a
// backslash, and each backslash one more, since the value is a string.
func desktopQuote(s string) string {
	s = strings.ReplaceAll(s, "%", "%%")
	if strings.ContainsAny(s, " \t\"'\\><~|&;$*?#()`") {
		return `"` + strings.NewReplacer(`\`, `\\\\`, `"`, `\\"`, "`", "\\\\`", `$`, `\\$`).Replace(s) + `"`
	}
	return s
}
