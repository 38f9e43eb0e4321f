package sshconfig

import (
	"path/filepath"
	"slices"
	"strings"
)

// Hosts are the hosts that the user's configuration names, in its order: each pattern of
// a Host line without wildcards, and not what Match lines are about.
func Hosts(home string) []string {
	var list []string
	read := 0
	var file func(path, includes string, depth int)
	file = func(path, includes string, depth int) {
		if read++; read > maxFiles || depth > maxDepth {
			return
		}
		text, err := ReadFile(path, maxConfigSize)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(text)) {
			keyword, args := parseLine(line)
			for _, word := range args {
				switch {
				case keyword == "host" && !strings.ContainsAny(word, "*?!") && !strings.HasPrefix(word, "-") && !slices.Contains(list, word):
					list = append(list, word)
				case keyword == "include":
					if rest, ok := strings.CutPrefix(word, "~/"); ok {
						word = filepath.Join(home, rest)
					} else if !filepath.IsAbs(word) {
						word = filepath.Join(includes, word)
					}
					for _, path := range glob(word) {
						file(path, includes, depth+1)
					}
				}
			}
		}
	}
	file(filepath.Join(home, ".ssh", "config"), filepath.Join(home, ".ssh"), 0)
	return list
}
