package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"vmux/internal/cli/command"
)

// source is the commit that is released.
type source struct {
	version   string // semantic, without "v"
	date      time.Time
	committer string // NAME <ADDRESS>
}

// lookAtSource finds the version: that of the program, if the commit bears its tag, or
// a version before that one.
func lookAtSource() (source, error) {
	tags, err := git("tag", "--points-at", "HEAD", "--list", "v*")
	if err != nil {
		return source{}, err
	}
	commit, err := git("log", "-1", "--format=%ct %H")
	if err != nil {
		return source{}, err
	}
	seconds, hash, _ := strings.Cut(commit, " ")
	if given := os.Getenv("SOURCE_DATE_EPOCH"); given != "" {
		seconds = given
	}
	epoch, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return source{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	s := source{version: command.Version, date: time.Unix(epoch, 0).UTC()}
	if s.committer, err = git("log", "-1", "--format=%cn <%ce>"); err != nil {
		return s, err
	}
	if t := strings.Fields(tags); len(t) > 0 && !slices.Contains(t, "v"+s.version) {
		return s, fmt.Errorf("the commit has the tag %s, but internal/cli/command says version %s", t[0], s.version)
	} else if len(t) == 0 {
		s.version += "-dev." + s.date.Format("20060102150405") + "." + hash[:12]
	}
	changed, err := git("status", "--porcelain")
	if err != nil {
		return s, err
	}
	if changed != "" {
		return s, fmt.Errorf("there are changes that are in no commit:\n%s", changed)
	}
	return s, nil
}

func git(args ...string) (string, error) {
	out, err := exec.Command("git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// fetching are the settings of Go that say where modules come from. They are those of the
// person: what comes is compared with go.sum.
var fetching = []string{"GOPROXY", "GOPRIVATE", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOINSECURE", "GOVCS", "GOMODCACHE", "GOCACHE", "GOTOOLCHAIN"}

// keepFetching puts those settings into the environment, for when their file is not read.
func keepFetching() error {
	for _, name := range fetching {
		value, err := exec.Command("go", "env", name).Output()
		if err == nil {
			err = os.Setenv(name, strings.TrimSpace(string(value)))
		}
		if err != nil {
			return fmt.Errorf("go env %s: %w", name, err)
		}
	}
	return nil
}

// environment is that of the compiler: what a person has set for their own builds, in the
// environment, by `go env -w` or by a go.work above this folder, would make other bytes.
func (s source) environment(more ...string) []string {
	return append(append(os.Environ(), "GOENV=off", "GOWORK=off",
		"GOFLAGS=", "GOEXPERIMENT=", "GOFIPS140=off", "GOAMD64=v1", "GOARM64=v8.0", "CGO_ENABLED=0", "LC_ALL=C",
		"SOURCE_DATE_EPOCH="+strconv.FormatInt(s.date.Unix(), 10)), more...)
}
