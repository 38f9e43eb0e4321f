package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vmux/internal/agent"
	"vmux/internal/agent/origin"
	"vmux/internal/cli/command"
	"vmux/internal/config"
	"vmux/internal/hubpage"
	"vmux/internal/link"
	"vmux/internal/link/lan"
	"vmux/internal/notices"
	"vmux/internal/sshagent"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// agentFlags are the flags of `vmux agent`.
type agentFlags struct {
	socket, passkeys string
	name             string
	unbound          string
	notifications    []string
	certificateFile  bool
	lan, verbose     bool
	approvalTimeout  time.Duration
	maxKeys          int
	forward, hints   bool
	upstream         string
	forwardUpstream  bool
	hub              hubFlags
	given            map[string]string // by their names
}

func newAgentCommand(a *app) *cobra.Command {
	var f agentFlags
	var settings *config.Command
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Serve SSH clients on this computer, in the foreground",
		Long: `Serves the SSH agent protocol on a socket, and asks the paired phones for each
signature. It holds no phone-held key. It ends on ^C or SIGTERM; a session
certificate ends with it.

Tell SSH clients of it in ~/.ssh/config:

  Host *
      IdentityAgent ~/.ssh/vmux-agent.sock

and ssh-add by SSH_AUTH_SOCK=~/.ssh/vmux-agent.sock in the environment.

With a hub, phones are reached from anywhere, and the web app on a phone is the
hub's page. --hub local starts one beside the agent: for a browser on this
computer as it is, for phones of this network with --hub-local-ca, and for phones
anywhere with --hub-behind-proxy --hub-url. A passkey belongs to the hub's host
name, whatever the port: serve nothing else under that name.

Each flag can stand in the configuration file, below [agent]: vmux config.`,
		Example: `  vmux agent
  vmux agent --approval-timeout 100s --verbose
  vmux agent --hub https://hub.example
  vmux agent --hub local --hub-local-ca`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.GoOn()
			log := a.logger(f.verbose)
			if file, found := settings.File(); found {
				log.Info("configuration read", "file", file)
			}
			f.given = map[string]string{}
			cmd.Flags().Visit(func(given *pflag.Flag) { f.given[given.Name] = given.Value.String() })
			return a.runAgent(cmd.Context(), f, log)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.socket, "socket", "", "`PATH` of the socket (default ~/.ssh/vmux-agent.sock, or $VMUX_HOME/agent.sock if that is set)")
	flags.StringVar(&f.name, "name", "", "the `NAME` by which phones know this computer (default its host name)")
	f.hub.add(cmd)
	flags.BoolVar(&f.lan, "lan", true, "look for phones on the local network by DNS-SD; without, last known addresses are dialled")
	flags.DurationVar(&f.approvalTimeout, "approval-timeout", wire.Window, "how long a person may take to answer, at most 100s")
	flags.StringVar(&f.passkeys, "passkeys", string(agent.PasskeysLast), "where keys on passkeys are listed: `last`, never, or no-certificate (last, and only without a session certificate)")
	flags.IntVar(&f.maxKeys, "max-keys", 4, "how many keys of phones a login is offered; 0 is all. The one that works there stands first")
	flags.BoolVar(&f.forward, "forward-certificate", false, "let other hosts use the session certificate through agent forwarding (ssh -A), without asking")
	flags.StringVar(&f.upstream, "upstream", "", "`SOCKET` of another SSH agent, whose keys are listed after those of phones, and which ssh-add adds to")
	flags.BoolVar(&f.forwardUpstream, "forward-upstream", false, "let other hosts use the upstream agent's keys through agent forwarding (ssh -A)")
	flags.StringVar(&f.unbound, "unbound-certificate", string(origin.UnboundFirst), "what the session certificate and the upstream agent's keys sign for clients that name no server (plink, paramiko): the `first` session of each process, always, or never")
	flags.BoolVar(&f.certificateFile, "certificate-file", true, "keep the session certificate as ~/.ssh/vmux-session-cert.pub, or in $VMUX_HOME if that is set, for ssh's IdentityFile")
	flags.BoolVar(&f.hints, "tty-hints", true, "while a program waits for the phone, say so on its terminal; VMUX_TTY=off in its environment turns it off there")
	flags.StringSliceVar(&f.notifications, "notifications", []string{"all"}, "which desktop notifications you want: all, none, or `KINDS` with commas between them, of "+kindsOfNotices())
	flags.BoolVar(&f.verbose, "verbose", false, "log everything that happens, but never keys or what is signed")
	settings = config.For(cmd, config.TableAgent, func() error { return f.check() })
	return cmd
}

// check tells wrong usage before anything is started.
func (f *agentFlags) check() error {
	if err := f.hub.check(); err != nil {
		return err
	}
	switch agent.Passkeys(f.passkeys) {
	case agent.PasskeysLast, agent.PasskeysNever, agent.PasskeysNoCertificate:
	default:
		return command.Usagef("--passkeys accepts last, never or no-certificate")
	}
	switch origin.Unbound(f.unbound) {
	case origin.UnboundFirst, origin.UnboundAlways, origin.UnboundNever:
	default:
		return command.Usagef("--unbound-certificate accepts first, always or never")
	}
	if err := command.CheckName(f.name); err != nil {
		return err
	}
	if _, err := notices.Parse(f.notifications); err != nil {
		return command.Usagef("--notifications accepts all, none, or of %s", kindsOfNotices())
	}
	if f.maxKeys < 0 {
		return command.Usagef("--max-keys accepts 0, which is all, or a number of keys")
	}
	if f.forwardUpstream && f.upstream == "" {
		return command.Usagef("--forward-upstream is for --upstream")
	}
	if f.approvalTimeout < time.Second || f.approvalTimeout > wire.MaxWindow {
		return command.Usagef("--approval-timeout accepts 1s to %v", wire.MaxWindow)
	}
	return nil
}

func (a *app) runAgent(ctx context.Context, f agentFlags, log *slog.Logger) error {
	if err := command.ForbidTracing(); err != nil {
		return fmt.Errorf("forbid tracing: %w", err)
	}
	home, err := state.Find()
	if err != nil {
		return err
	}
	if _, err := home.ControlSocket(); err != nil {
		return err // before any folder is made
	}
	if f.socket == "" {
		f.socket, err = home.AgentSocket()
	} else if f.socket, err = filepath.Abs(f.socket); err == nil {
		err = checkFolderOf(f.socket)
	}
	if err != nil {
		return err
	}
	certificateFile := ""
	if f.certificateFile {
		if certificateFile, err = home.CertificateFile(); err != nil {
			return err
		}
	}
	dir, err := home.Agent()
	if err != nil {
		return err
	}
	if err := f.hub.keepName(home); err != nil {
		return err
	}
	local, err := a.findLocalHub(f.hub, log)
	if err != nil {
		return err
	}
	hub, err := f.hub.agentHub(home, local)
	if err != nil {
		return err
	}
	page, err := hubpage.Built()
	if err != nil {
		return err
	}
	socket, err := sshagent.Activated()
	if err != nil {
		return err
	}
	if socket != nil {
		f.socket = socket.Addr().String()
	}
	if f.upstream != "" {
		if f.upstream, err = upstreamSocket(f.upstream, f.socket); err != nil {
			return err
		}
	}
	kinds, err := notices.Parse(f.notifications)
	if err != nil {
		return err
	}
	running, err := agent.New(agent.Config{
		StateDir:        dir.Path(),
		Name:            f.name,
		Socket:          f.socket,
		Listener:        socket,
		Routes:          []link.Route{lan.NewDialer(f.lan, log)},
		Hub:             hub,
		Page:            page,
		ApprovalTimeout: f.approvalTimeout,
		Passkeys:        agent.Passkeys(f.passkeys),
		MaxKeys:         cmp.Or(f.maxKeys, -1), // 0 is all
		OpenSSHVersion:  sync.OnceValue(func() string { return opensshVersion(ctx) }),
		ProgramVersion:  command.Version,
		Flags:           f.given,
		Log:             log,

		ForwardCertificate: f.forward,
		CertificateFile:    certificateFile,
		UnboundCertificate: origin.Unbound(f.unbound),
		NoTTYHints:         !f.hints,
		Upstream:           f.upstream,
		ForwardUpstream:    f.forwardUpstream,
		Notifications:      kinds,
	})
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		select {
		case <-running.Ready():
			a.Say("serving SSH clients: SSH_AUTH_SOCK=%s", f.socket)
			if hub != nil {
				a.Say("the page for phones: %s", hub.URL)
				if w := f.hub.sharedHost(); w != "" {
					a.Say("warning: %s", w)
				}
			}
			local.start(ctx) // now that no other agent can have the same state
		case <-ended:
		}
	}()
	err = running.Run(ctx)
	close(ended)
	<-told
	local.stop()
	return err
}

// checkFolderOf finds a path that no socket can have. A folder that is not there is
// made later.
func checkFolderOf(socket string) error {
	info, err := os.Stat(filepath.Dir(socket))
	if errors.Is(err, syscall.ENOTDIR) || err == nil && !info.IsDir() {
		return command.Usagef("--socket accepts a path in a folder, and %s is none", wire.Show(filepath.Dir(socket)))
	}
	return nil
}

// upstreamSocket is the upstream agent's socket, which is not this one's.
func upstreamSocket(upstream, own string) (string, error) {
	upstream, err := filepath.Abs(upstream)
	if err != nil {
		return "", err
	}
	if sameSocket(upstream, own) {
		return "", command.Usagef("--upstream accepts the socket of another agent, and %s is this one's", wire.Show(upstream))
	}
	return upstream, nil
}

// sameSocket reports whether two paths are of one socket, which need not be there.
func sameSocket(a, b string) bool {
	real := func(path string) string {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return real
		}
		if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
			return filepath.Join(dir, filepath.Base(path))
		}
		return path
	}
	return real(a) == real(b)
}

// logger writes to standard error. It never gets keys, payloads or invitations:
// that is for those who log.
func (a *app) logger(verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.Logs(), &slog.HandlerOptions{Level: level}))
}

// opensshVersion is what `ssh -V` says, up to the first space or comma; empty
// where there is no ssh. Phones are told, since old clients cannot use all keys.
func opensshVersion(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ssh", "-V").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "OpenSSH_") {
		return ""
	}
	version, _, _ := strings.Cut(string(out), ",")
	return wire.Show(strings.Fields(version)[0])
}

// kindsOfNotices are the kinds of desktop notifications, for people.
func kindsOfNotices() string {
	var names []string
	for _, k := range notices.Kinds {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}
