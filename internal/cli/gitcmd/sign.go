// Package gitcmd is the commands that make git sign by the phone.
package gitcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"vmux/internal/cli/command"
	"vmux/internal/control"
	"vmux/internal/gitsign"
	"vmux/internal/sshconfig"
	"vmux/internal/wire"
)

// claimTime bounds how long a signature waits for the agent to be told what it is for:
// it is asked for all the same. The agent, which ssh-keygen asks next, answers at once,
// on a busy computer within seconds.
const claimTime = 10 * time.Second

// app is what every command of this package works with.
type app struct{ *command.IO }

// NewSign makes `vmux git-sign`.
func NewSign(io *command.IO) *cobra.Command {
	a := &app{io}
	return &cobra.Command{
		Use:   "git-sign [ARGUMENTS OF ssh-keygen -Y]",
		Short: "Sign commits and tags: git's gpg.ssh.program",
		Long: `Runs ssh-keygen with the same arguments, and tells the agent first what a commit
or tag is, so that the phone shows its subject, author and repository, as the
computer claims them, beside what the signed bytes prove.

vmux git setup tells git of it.`,
		Example:            "  git config --global gpg.ssh.program vmux",
		Args:               cobra.ArbitraryArgs,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
				return cmd.Help()
			}
			if len(args) == 0 || args[0] != "-Y" { // anything else would make or change keys
				return command.Usage("git runs this, with arguments that begin with -Y", "vmux git setup")
			}
			return a.sign(cmd.Context(), args)
		},
	}
}

func (a *app) sign(ctx context.Context, args []string) error {
	keygen := exec.CommandContext(ctx, "ssh-keygen", args...)
	keygen.Stdin, keygen.Stdout, keygen.Stderr = a.In, a.Out, a.Err
	key := ""
	call := gitsign.ParseCall(args)
	if call.Sign {
		key = a.prepareSignature(ctx, call, keygen)
	}
	began := time.Now()
	err := keygen.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if keygen.Env != nil && exit.Exited() {
			a.sayWhyUnsigned(ctx, key+": signature for "+wire.Show(call.Namespace), began)
		}
		return command.Exit(max(exit.ExitCode(), 1)) // -1: by a signal, as ^C
	}
	if err != nil {
		return command.WithHint(fmt.Errorf("run ssh-keygen: %w", err), "install OpenSSH's client")
	}
	return nil
}

// sayWhyUnsigned says what the agent knows of that signature and ssh-keygen cannot, since what
// began, for git to show: an editor's has no terminal that the agent could say it on.
func (a *app) sayWhyUnsigned(ctx context.Context, about string, began time.Time) {
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	status, err := command.Client().Status(ctx)
	if failed := status.LastFailure; err == nil && failed != nil && failed.Kind == "sign" && failed.About == about && failed.At.After(began) {
		a.Say("%s", failed.Sentence)
		if failed.Hint != "" {
			a.Hint("%s", failed.Hint)
		}
	}
}

// prepareSignature sends ssh-keygen to the agent if that has the key, and tells
// the agent what the signature is for. Neither is needed for a signature: git shows
// what is said here if ssh-keygen fails. It returns what the agent calls the key.
func (a *app) prepareSignature(ctx context.Context, call gitsign.Call, keygen *exec.Cmd) (key string) {
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	fingerprint, ok := publicKeyIn(call.KeyFile)
	if !ok {
		return ""
	}
	status, err := command.Client().Status(ctx)
	if err != nil {
		a.Say("the agent does not answer, so that ssh-keygen signs without it: %s", command.Sentence(err))
		a.Hint("start it with `vmux agent`")
		return ""
	}
	at := slices.IndexFunc(status.Identities, func(i control.Identity) bool { return i.Fingerprint == fingerprint })
	if at < 0 {
		return ""
	}
	key = status.Identities[at].Comment
	keygen.Env = append(os.Environ(), "SSH_AUTH_SOCK="+status.Socket)
	if call.Namespace != gitsign.Namespace {
		return key
	}
	object, err := a.signed(call, keygen)
	if err != nil || len(object) > gitsign.MaxObject {
		return key
	}
	described, ok := gitsign.Describe(object, repositoryName(ctx))
	if ok {
		err = command.Client().ClaimGit(ctx, control.GitClaim{Hash: gitsign.HashOf(call.Hash, object), Object: described})
	}
	if err != nil {
		a.Say("the phone will not show what is signed: %s", command.Sentence(err))
	}
	return key
}

// signed is what is to be signed: of a file, as git does it, or of standard input, as jj and
// gitui do, which ssh-keygen gets all the same.
func (a *app) signed(call gitsign.Call, keygen *exec.Cmd) ([]byte, error) {
	if call.File != "" {
		return sshconfig.ReadFile(call.File, gitsign.MaxObject+1)
	}
	object, err := io.ReadAll(io.LimitReader(a.In, gitsign.MaxObject+1))
	keygen.Stdin = io.MultiReader(bytes.NewReader(object), a.In)
	return object, err
}

// publicKeyIn returns the fingerprint of the public key that stands in the file. With
// any other file ssh-keygen needs no agent.
func publicKeyIn(file string) (fingerprint string, ok bool) {
	b, err := sshconfig.ReadFile(file, gitsign.MaxObject) // user.signingkey is the user's to set
	if err != nil {
		return "", false
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(b)
	if err != nil {
		return "", false
	}
	if cert, ok := key.(*ssh.Certificate); ok { // of another CA, over the key
		key = cert.Key
	}
	return ssh.FingerprintSHA256(key), true
}

// repositoryName is the name of the working tree's folder.
func repositoryName(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--show-toplevel").Output()
	top := strings.TrimSpace(string(out))
	if err != nil || top == "" {
		if top, err = os.Getwd(); err != nil {
			return ""
		}
	}
	return filepath.Base(top)
}
