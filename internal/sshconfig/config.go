package sshconfig

import (
	"path/filepath"
	"slices"
	"strings"
)

// maxConfigSize bounds what is read of one file, in bytes.
const maxConfigSize = 1 << 20

// file reads a configuration (ssh_config(5)) that applies as far as outer says.
func (r *reader) file(path, includes string, outer truth, depth int) {
	if r.read++; r.read > maxFiles || r.text > maxText || depth > maxDepth {
		r.unclear = true
		return
	}
	text, err := ReadFile(path, maxConfigSize)
	if err != nil {
		r.unclear = r.unclear || !isMissing(err)
		return
	}
	r.text += len(text)
	applies := outer
	for line := range strings.Lines(string(text)) {
		switch keyword, args := parseLine(line); {
		case keyword == "host":
			applies = min(outer, truthOf(fits(r.host, args))) // ssh_config(5), PATTERNS
		case keyword == "match":
			applies = min(outer, r.matches(args))
		case applies == no:
		case keyword == "include":
			for _, pattern := range args {
				r.include(pattern, includes, applies, depth)
			}
		default:
			r.directive(keyword, args, applies)
		}
	}
}

func (r *reader) include(pattern, includes string, applies truth, depth int) {
	pattern, ok := r.expand(r.tilde(pattern))
	if !ok {
		r.unclear = true
		return
	}
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(includes, pattern)
	}
	for _, path := range glob(pattern) {
		r.file(path, includes, applies, depth+1)
	}
}

// glob finds files as glob(3) does, of which filepath.Glob differs in three things:
// a wildcard fits no name that begins with a dot (an editor's .work.conf.swp), [!a]
// is what Go writes [^a], and the order is that of whole paths.
func glob(pattern string) []string {
	paths, err := filepath.Glob(strings.ReplaceAll(pattern, "[!", "[^"))
	if err != nil {
		return nil // no such pattern: ssh refuses it itself
	}
	parts := strings.Split(filepath.Clean(pattern), "/")
	paths = slices.DeleteFunc(paths, func(path string) bool {
		for i, name := range strings.Split(filepath.Clean(path), "/") {
			if strings.HasPrefix(name, ".") && i < len(parts) && !strings.HasPrefix(parts[i], ".") {
				return true
			}
		}
		return false
	})
	slices.Sort(paths)
	return paths
}

// directive takes in a setting that names the server or a key.
func (r *reader) directive(keyword string, args []string, applies truth) {
	switch keyword {
	case "identityfile", "certificatefile":
		r.anyNamed = r.anyNamed || keyword == "identityfile" && applies == yes
		for _, file := range args {
			r.identities = add(r.identities, file)
		}
	case "hostname", "hostkeyalias", "port", "user", "tag", "userknownhostsfile", "globalknownhostsfile",
		"canonicalizehostname", "canonicaldomains", "identitiesonly", "pubkeyauthentication", "preferredauthentications":
		r.set(keyword, args, applies)
	}
}

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// matches reports whether a Match line applies (ssh_config(5)).
func (r *reader) matches(words []string) truth {
	result := yes
	for i := 0; i < len(words); i++ {
		criterion, value, joined := strings.Cut(words[i], "=")
		criterion, negated := strings.CutPrefix(strings.ToLower(criterion), "!")
		var t truth
		switch criterion {
		case "all":
			t = yes
		case "canonical", "final":
			r.wantFinal = r.wantFinal || criterion == "final"
			t = truthOf(r.final)
		default:
			if !joined && i+1 < len(words) {
				i++
				value = words[i]
			}
			t = r.meets(criterion, strings.Split(value, ","))
		}
		if negated {
			t = yes - t
		}
		result = min(result, t)
	}
	return result
}

// meets judges a criterion that has a value. What depends on a program that ssh
// would run, on the network or on the session may hold.
func (r *reader) meets(criterion string, patterns []string) truth {
	var words []string
	if criterion == "host" || criterion == "originalhost" { // match.c, match_hostname
		for i, p := range patterns {
			patterns[i] = strings.ToLower(p)
		}
	}
	switch criterion {
	case "host":
		words = r.hostNames()
	case "originalhost":
		words = []string{r.typed}
	case "user":
		words = r.possible("user", r.User)
	case "localuser":
		words = []string{r.User}
	case "tagged":
		if words = r.possible("tag", ""); len(words) == 0 {
			return no
		}
	default:
		return maybe
	}
	met := 0
	for _, word := range words {
		if fits(word, patterns) {
			met++
		}
	}
	switch met {
	case 0:
		return no
	case len(words):
		return yes
	}
	return maybe
}

// fits reports whether a pattern fits and none that is negated.
func fits(word string, patterns []string) bool {
	found := false
	for _, p := range patterns {
		p, not := strings.CutPrefix(p, "!")
		if !Pattern(p, word) {
			continue
		}
		if not {
			return false
		}
		found = true
	}
	return found
}

// Pattern reports whether the word fits a pattern of `*`, `?` and characters.
func Pattern(pattern, word string) bool {
	p, w, star, back := 0, 0, -1, 0
	for w < len(word) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, back = p, w
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == word[w]):
			p++
			w++
		case star >= 0:
			back++
			p, w = star+1, back
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// parseLine splits `Keyword value …` and `Keyword=value`. Words may be quoted, as
// OpenSSH's argv_split has it; a word that begins with # ends the line. The keyword
// is lower case.
func parseLine(line string) (keyword string, args []string) {
	line = strings.Trim(line, " \t\r\n\f")
	end := strings.IndexAny(line, " \t=")
	if end <= 0 || line[0] == '#' {
		return "", nil
	}
	keyword = strings.ToLower(strings.Trim(line[:end], `"`))
	rest := strings.TrimLeft(line[end:], " \t")
	rest = strings.TrimPrefix(rest, "=")
	return keyword, splitWords(rest)
}

func splitWords(s string) []string {
	var words []string
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" || s[0] == '#' {
			return words
		}
		var word strings.Builder
		quote, i := byte(0), 0
		for ; i < len(s) && (quote != 0 || s[i] != ' ' && s[i] != '\t'); i++ {
			c := s[i]
			switch {
			case c == '\\' && i+1 < len(s) && (strings.IndexByte(`'"\`, s[i+1]) >= 0 || quote == 0 && s[i+1] == ' '):
				i++
				word.WriteByte(s[i])
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
			case quote != 0 && c == quote:
				quote = 0
			default:
				word.WriteByte(c)
			}
		}
		words = append(words, word.String())
		s = s[i:]
	}
}
