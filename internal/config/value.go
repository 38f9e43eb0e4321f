package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"vmux/internal/state"
	"vmux/internal/wire"
)

// flagValue is a value of the file as a flag takes it.
type flagValue struct {
	text string
	list []string // for a flag that takes several
}

func (v flagValue) into(flag *pflag.Flag) error {
	if several, ok := flag.Value.(pflag.SliceValue); ok {
		return several.Replace(v.list)
	}
	return flag.Value.Set(v.text)
}

// kinds are what flags take, by pflag's names, and as it is written in the file.
var kinds = map[string]string{
	"string":      `text in quotes`,
	"bool":        `true or false`,
	"int":         `a number`,
	"duration":    `a duration in quotes, such as "60s"`,
	"stringSlice": `a list, such as ["one", "two"]`,
	"stringArray": `a list, such as ["one", "two"]`,
}

// valueFor converts what the file has for a flag. The types are strict: what a
// person meant by `lan = "no"` would otherwise be a guess.
func valueFor(flag *pflag.Flag, is any) (flagValue, error) {
	kind := flag.Value.Type()
	wrong := fmt.Errorf("%s takes %s, not %s", flag.Name, kinds[kind], written(is))
	switch is := is.(type) {
	case string:
		if kind == "duration" {
			if _, err := time.ParseDuration(is); err != nil {
				return flagValue{}, wrong
			}
		} else if kind != "string" {
			return flagValue{}, wrong
		}
		text, err := pathOf(flag, is)
		return flagValue{text: text}, err
	case bool:
		if kind == "bool" {
			return flagValue{text: strconv.FormatBool(is)}, nil
		}
	case int64:
		if kind == "int" {
			return flagValue{text: strconv.FormatInt(is, 10)}, nil
		}
	case []any:
		v := flagValue{list: []string{}}
		for _, element := range is {
			text, ok := element.(string)
			if !ok {
				return v, wrong
			}
			text, err := pathOf(flag, text)
			if err != nil {
				return v, err
			}
			v.list = append(v.list, text)
		}
		if _, several := flag.Value.(pflag.SliceValue); several {
			return v, nil
		}
	}
	return flagValue{}, wrong
}

// pathOf expands ~ in a path, as a shell does on the command line. One that begins
// anywhere else would lead elsewhere from each folder that a command is run in.
func pathOf(flag *pflag.Flag, text string) (string, error) {
	if !takesPath(flag) || text == "" || text == "-" || text == none || filepath.IsAbs(text) {
		return text, nil
	}
	if !strings.HasPrefix(text, "~/") {
		return "", wire.WithHint(fmt.Errorf("%s takes a path that begins with / or ~/, not %q", flag.Name, text), "the whole path")
	}
	return state.BelowHome(text)
}

func takesPath(flag *pflag.Flag) bool {
	placeholder, _ := pflag.UnquoteUsage(flag)
	return placeholder == "PATH" || placeholder == "FILE" || placeholder == "SOCKET"
}

// ExpandHome puts the home folder for ~ in the flags of a command line that take paths: a
// shell does not behind a =, nor does whoever starts a program without one, as systemd.
func ExpandHome(flags *pflag.FlagSet) error {
	var errs []error
	flags.Visit(func(flag *pflag.Flag) {
		if flag.Value.Type() != "string" || !takesPath(flag) {
			return
		}
		path, err := state.BelowHome(flag.Value.String())
		if err == nil && path != flag.Value.String() {
			err = flag.Value.Set(path)
		}
		errs = append(errs, err)
	})
	return errors.Join(errs...)
}

// written is a value as the file has it.
func written(is any) string {
	switch is := is.(type) {
	case string:
		return strconv.Quote(is)
	case []any:
		return "a list with something else in it"
	case map[string]any:
		return "a table"
	}
	return fmt.Sprint(is)
}

// Source is where a value comes from.
type Source string

// The sources, from the weakest.
const (
	Default Source = "default"
	InFile  Source = "file"
)

// Setting is one setting as it holds for a command that is started now.
type Setting struct {
	Table  string `json:"table"`
	Key    string `json:"key"`
	Value  any    `json:"value"` // string, bool, number, or a list of strings
	Source Source `json:"source"`
	Line   int    `json:"line,omitempty"` // in the file
}

// TOML is the setting as a line of the file.
func (s Setting) TOML() string {
	switch v := s.Value.(type) {
	case string:
		return s.Key + " = " + quote(v)
	case []string:
		quoted := make([]string, len(v))
		for i, text := range v {
			quoted[i] = quote(text)
		}
		return s.Key + " = [" + strings.Join(quoted, ", ") + "]"
	}
	return fmt.Sprintf("%s = %v", s.Key, s.Value)
}

// quote makes a TOML string. JSON's escapes are TOML's, too.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

// Settings are all settings of the command, after Load.
func (c *Command) Settings() []Setting {
	var all []Setting
	c.cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !isSetting(f) {
			return
		}
		s := Setting{Table: c.Table, Key: f.Name, Source: Default, Value: typed(f)}
		if line, ok := c.lines[f.Name]; ok {
			s.Source, s.Line = InFile, line
		}
		all = append(all, s)
	})
	return all
}

// File is the file that was looked for, empty for none, and whether there is one; after
// Load.
func (c *Command) File() (path string, found bool) { return c.file.path, c.file.found }

// typed is a flag's value as JSON and TOML have it.
func typed(f *pflag.Flag) any {
	text := f.Value.String()
	switch f.Value.Type() {
	case "bool":
		return text == "true"
	case "int":
		n, _ := strconv.Atoi(text)
		return n
	}
	if several, ok := f.Value.(pflag.SliceValue); ok {
		return several.GetSlice()
	}
	return text
}
