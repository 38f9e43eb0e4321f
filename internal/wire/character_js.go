package wire

// isCharacter is what it is elsewhere, but for code points that stand for nothing:
// those the page finds by the browser's tables, which are newer and make no download
// longer.
func isCharacter(r rune) bool { return !hostile(r) }
