package webapp

import (
	"strconv"
	"strings"
)

// choose picks the first form that the client takes (RFC 9110 section 12.5.3).
// What it does not name but for "*" it is not sent, except the file as it is.
func choose(forms []form, accept []string) (form, bool) {
	taken := parseAccept(accept)
	for _, f := range forms {
		encoding := f.encoding
		if encoding == "" {
			encoding = "identity"
		}
		ok, named := taken[encoding]
		if !named {
			any, star := taken["*"]
			ok = any || encoding == "identity" && !star
		}
		if ok {
			return f, true
		}
	}
	return form{}, false
}

// parseAccept reads Accept-Encoding: which encodings are taken, which refused
// (q=0). Preferences among those taken are ours to ignore.
func parseAccept(headers []string) map[string]bool {
	taken := map[string]bool{}
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		encoding, parameter, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), ";")
		if encoding = strings.TrimSpace(encoding); encoding == "" {
			continue
		}
		quality := 1.0
		if q, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
			quality, _ = strconv.ParseFloat(q, 64) // what is no number is 0: refused
		}
		taken[encoding] = quality > 0
	}
	return taken
}

// matches reports whether If-None-Match names the tag (RFC 9110 section 13.1.2).
// A proxy that compresses may have weakened it.
func matches(headers []string, etag string) bool {
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		if part = strings.TrimSpace(part); part == "*" || strings.TrimPrefix(part, "W/") == etag {
			return true
		}
	}
	return false
}
