package gitcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"vmux/internal/cli/command"
	"vmux/internal/sshconfig"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// Program is what git is to run as gpg.ssh.program, which is a single word: this
// program, which takes ssh-keygen's `-Y` in the place of a command. It is the path by which
// PATH, or who called it, leads here: programs with windows run git with a PATH of their
// own, and a path with its symbolic links resolved would lead to a version that goes. With
// VMUX_HOME, which git need not have, it is a script.
func Program() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	called := self
	for _, name := range []string{"vmux", os.Args[0]} {
		if found, err := exec.LookPath(name); err == nil && SameFile(found, self) {
			if called, err = filepath.Abs(found); err != nil {
				return "", fmt.Errorf("find this program: %w", err)
			}
			break
		}
	}
	if set := os.Getenv("VMUX_HOME"); set != "" {
		return writeGitProgram(set, called)
	}
	return called, nil
}

// SameFile reports whether both paths lead to one file.
func SameFile(a, b string) bool {
	one, err := os.Stat(a)
	other, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(one, other)
}

func writeGitProgram(home, program string) (string, error) {
	dir, err := agentDir()
	if err != nil {
		return "", err
	}
	script := "#!/bin/sh\n# git's gpg.ssh.program; `vmux git setup` wrote it.\n" +
		"if command -v " + command.ShellQuote(program) + " >/dev/null; then\n" +
		"\tVMUX_HOME=" + command.ShellQuote(home) + " exec " + command.ShellQuote(program) + " git-sign \"$@\"\nfi\n" +
		"echo 'vmux: the program is gone, so that ssh-keygen signs without it' >&2\n" +
		"exec ssh-keygen \"$@\"\n"
	if err := dir.Put("git-sign", []byte(script)); err != nil {
		return "", fmt.Errorf("write git's signing program: %w", err)
	}
	path := filepath.Join(dir.Path(), "git-sign")
	return path, os.Chmod(path, 0o700)
}

func agentDir() (*state.Dir, error) {
	home, err := state.Find()
	if err != nil {
		return nil, err
	}
	return home.Agent()
}

// setupDocument holds what `vmux git setup` has written.
const setupDocument = "git-setup.json"

// gitRecord is what was written to one configuration, so that it can be taken back.
type gitRecord struct {
	Config map[string]gitChange `json:"config"`
	Lines  []signersLine        `json:"lines"`

	all  map[string]*gitRecord // by the configuration's file
	file string
	dir  *state.Dir
}

type gitChange struct {
	Wrote  string  `json:"wrote"`
	Before *string `json:"before"` // nil: not set
}

// signersLine is a line that was added to a file of allowed signers.
type signersLine struct {
	File string `json:"file"`
	Line string `json:"line"`
}

// openGitRecord reads what was written before to the user's configuration or to
// that of the repository.
func openGitRecord(ctx context.Context, scope string) (*gitRecord, error) {
	file := scope
	if scope == "--local" {
		// What its worktrees share, as they do the configuration.
		out, err := exec.CommandContext(ctx, "git", "rev-parse", "--path-format=absolute", "--git-common-dir").Output()
		if err = gitSaid(err); err != nil {
			return nil, command.WithHint(err, "leave out --local, or see git status")
		}
		file = strings.TrimSuffix(string(out), "\n")
	}
	dir, err := agentDir()
	if err != nil {
		return nil, err
	}
	b, err := dir.Get(setupDocument)
	if err != nil {
		return nil, err
	}
	all := map[string]*gitRecord{}
	if b != nil {
		if err := json.Unmarshal(b, &all); err != nil {
			return nil, command.WithHint(fmt.Errorf("read the record of what was written: %w", err), "remove %s", filepath.Join(dir.Path(), setupDocument))
		}
	}
	r := all[file]
	if r == nil {
		r = &gitRecord{}
		all[file] = r
	}
	if r.Config == nil {
		r.Config = map[string]gitChange{}
	}
	r.all, r.file, r.dir = all, file, dir
	return r, nil
}

// note keeps what git has before it is changed: what this program has written
// itself is not what was before.
func (r *gitRecord) note(ctx context.Context, scope, name, value string) error {
	before, err := scopedGitConfig(ctx, scope, name)
	if err != nil {
		return fmt.Errorf("git config: %w", err)
	}
	if old, ok := r.Config[name]; ok && before != nil && *before == old.Wrote {
		before = old.Before
	}
	r.Config[name] = gitChange{value, before}
	return nil
}

func (r *gitRecord) save() error {
	b, err := json.MarshalIndent(r.all, "", "  ")
	if err != nil {
		return err
	}
	return r.dir.Put(setupDocument, b)
}

// scopedGitConfig is a setting of one configuration alone, nil if it has none.
func scopedGitConfig(ctx context.Context, scope, name string) (*string, error) {
	out, err := exec.CommandContext(ctx, "git", "config", scope, "--get", name).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		return nil, nil
	}
	value := strings.TrimSuffix(string(out), "\n")
	return &value, gitSaid(err)
}

// gitSaid is the error of a git whose output was read, with its first words.
func gitSaid(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if said, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n"); said != "" {
			return fmt.Errorf("git says: %s", wire.Show(said))
		}
	}
	return err
}

func setGitConfig(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "git", append([]string{"config"}, args...)...).CombinedOutput(); err != nil {
		said := strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "; ")
		return fmt.Errorf("git config %s: %w: %s", args[1], err, wire.Show(said))
	}
	return nil
}

// Undo takes back what `vmux git setup` has written for the user.
func Undo(ctx context.Context, io *command.IO) error {
	a := &app{io}
	return a.undo(ctx, "--global")
}

// Written reports whether there is something for Undo.
func Written(ctx context.Context) bool {
	r, err := openGitRecord(ctx, "--global")
	return err == nil && len(r.Config) > 0
}

// undo takes back what setUp has written, unless it has been changed since.
func (a *app) undo(ctx context.Context, scope string) error {
	r, err := openGitRecord(ctx, scope)
	if err != nil {
		return err
	}
	for name, change := range r.Config {
		now, err := scopedGitConfig(ctx, scope, name)
		if err != nil {
			return fmt.Errorf("git config: %w", err)
		}
		switch {
		case now == nil && change.Before == nil, now != nil && change.Before != nil && *now == *change.Before:
			continue // it was not written, or is as it was
		case now == nil || *now != change.Wrote:
			a.Say("%s has been changed since and stays", name)
		case change.Before != nil:
			err = setGitConfig(ctx, scope, name, *change.Before)
		default:
			err = setGitConfig(ctx, scope, "--unset", name)
		}
		if err != nil {
			return err
		}
	}
	for _, l := range r.Lines {
		if err := removeLine(l); err != nil {
			return fmt.Errorf("take the key out of the allowed signers: %w", err)
		}
	}
	if len(r.Config) == 0 {
		a.Say("nothing was written there")
	} else {
		a.Say("git signs as it did before")
	}
	delete(r.all, r.file)
	return r.save()
}

func removeLine(l signersLine) error {
	text, err := sshconfig.ReadFile(l.File, maxSigners)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(text) == maxSigners {
		return errors.New("the file is too long")
	}
	lines := strings.SplitAfter(string(text), "\n")
	kept := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return strings.TrimSuffix(line, "\n") == l.Line })
	if len(kept) == len(lines) {
		return nil
	}
	info, err := os.Stat(l.File)
	if err != nil {
		return err
	}
	return os.WriteFile(l.File, []byte(strings.Join(kept, "")), info.Mode().Perm())
}
