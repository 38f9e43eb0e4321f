package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vmux/internal/agent"
	"vmux/internal/cli/command"
	"vmux/internal/config"
	"vmux/internal/hostname"
	"vmux/internal/link/relay"
	"vmux/internal/localhub"
	"vmux/internal/pushsubject"
	"vmux/internal/state"
	"vmux/internal/wire"
)

// How `vmux agent` uses a hub: none, one that somebody runs, or one that it
// starts beside itself.

const (
	hubNone  = "none"
	hubLocal = "local"
	// hubListen is where a local hub listens unless it is told otherwise. The
	// port stays the same, since browsers keep a page's storage by its port too.
	hubListen = "127.0.0.1:8722"
	// ownName is a local hub's own name, which Chromium and Firefox take for this
	// machine. A passkey belongs to a host name, whatever the port: on localhost
	// every other page that is served there could ask for its signatures.
	ownName = "vmux.localhost"
	// hubListenAll is the same for phones of the network.
	hubListenAll = ":8722"
	// hubRoot is the certificate of a local hub's own CA, in its folder.
	hubRoot = "ca/root.pem"
)

// hubFlags are those flags of `vmux agent` that concern the hub.
type hubFlags struct {
	hub, ca         string
	listen, url     string // of a local hub
	listenHTTP      string // of a local hub with a CA of its own
	localCA, behind bool
	pushSubject     string // of a local hub

	kept hostname.Name // of a local hub with a CA that was given no URL
}

func (f *hubFlags) add(cmd *cobra.Command) {
	flags := pflag.NewFlagSet("hub", pflag.ContinueOnError)
	flags.StringVar(&f.hub, "hub", hubNone, "the `HUB` by which phones are reached from anywhere: none, its URL, or local, which starts one beside the agent")
	flags.StringVar(&f.ca, "hub-ca", "", "also believe the certificates in `FILE` (PEM) when connecting to the hub")
	flags.StringVar(&f.listen, "hub-listen", "", "with --hub local: the `HOST:PORT` it listens at (default "+hubListen+", or "+hubListenAll+" with --hub-local-ca)")
	flags.StringVar(&f.url, "hub-url", "", "with --hub local: the `URL` by which phones open it (default http://"+hubHost+":PORT)")
	flags.BoolVar(&f.localCA, "hub-local-ca", false, "with --hub local: serve HTTPS under a certificate authority of its own, for phones of this network")
	flags.StringVar(&f.listenHTTP, "hub-listen-http", "", "with --hub-local-ca: the `HOST:PORT` at which phones get that authority's certificate (default :8723)")
	flags.StringVar(&f.pushSubject, "push-subject", "", "with --hub local: mailto: address or https `URL` for push services to reach who runs this hub (default: its URL, or a general one where that is no name of the public DNS)")
	flags.BoolVar(&f.behind, "hub-behind-proxy", false, "with --hub local: HTTPS is what stands before it, as tailscale serve does; needs --hub-url")
	config.DetailsOf("hub", flags)
	cmd.Flags().AddFlagSet(flags)
}

// check tells wrong usage, and fills in defaults and the URL's one form.
func (f *hubFlags) check() error {
	local := f.hub == hubLocal
	if !local && (f.listen != "" || f.url != "" || f.localCA || f.behind || f.pushSubject != "") {
		return command.Usagef("--hub-listen, --hub-url, --hub-local-ca, --hub-behind-proxy and --push-subject are for --hub local")
	}
	switch {
	case f.listenHTTP != "" && !f.localCA:
		return command.Usagef("--hub-listen-http is for --hub-local-ca")
	case f.hub == hubNone && f.ca != "":
		return command.Usagef("--hub-ca is for --hub URL")
	case f.hub == hubNone:
		return nil
	case !local:
		u, err := wire.ParseHubURL(f.hub)
		if err != nil {
			return command.Usagef("--hub accepts none, local, or a URL: %v", err)
		}
		f.hub = u
		return nil
	case f.localCA && f.behind:
		return command.Usagef("--hub-local-ca and --hub-behind-proxy exclude each other")
	case f.behind && f.url == "":
		return command.Usagef("--hub-behind-proxy needs --hub-url: the URL by which phones open the proxy")
	}
	return f.checkLocal()
}

func (f *hubFlags) checkLocal() error {
	if f.listen == "" {
		f.listen = hubListen
		if f.localCA {
			f.listen = hubListenAll
		}
	}
	if err := command.CheckListen("--hub-listen", f.listen); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(f.listen)
	if err != nil || port == "0" {
		return command.Usagef("--hub-listen accepts HOST:PORT, with a port that stays the same")
	}
	if f.listenHTTP != "" && f.listenHTTP != hubNone {
		if err := command.CheckListen("--hub-listen-http", f.listenHTTP); err != nil {
			return err
		}
	}
	if f.url == "" && !f.localCA {
		f.url = "http://" + hubHost + ":" + port
	}
	if f.pushSubject != "" {
		if f.pushSubject, err = pushsubject.Parse(f.pushSubject); err != nil {
			return command.Usagef("--push-subject: %v", err)
		}
	}
	if f.url == "" {
		return nil // see keepName
	}
	u, err := wire.ParseHubURL(f.url)
	switch {
	case err != nil:
		return command.Usagef("--hub-url: %v", err)
	case strings.HasPrefix(u, "https:") != (f.localCA || f.behind):
		return command.Usagef("--hub-url of a local hub is https with --hub-local-ca or --hub-behind-proxy, else http://%s:PORT", hubHost)
	case f.localCA && !hostname.Valid(hostOf(u)):
		return command.Usagef("--hub-url: certificates are for host names, which have %s, not %q", hostname.Rules, hostOf(u))
	}
	f.url = u
	return nil
}

// sharedHost warns of a host name under which other programs serve pages, too.
func (f *hubFlags) sharedHost() string {
	if host := hostOf(f.url); f.hub == hubLocal && (host == "localhost" || net.ParseIP(host) != nil) {
		return "passkeys belong to a host name, whatever the port: any other page at " + host + " can ask for signatures by those made there; --hub-url http://" + ownName + ":PORT is the hub's own, in browsers that open it (Chromium and Firefox do)"
	}
	return ""
}

// keepName names a local hub with a CA that was given no URL: by its name in multicast
// DNS (RFC 6762), which phones of the network can open. It is this machine's at the
// first start, whatever that is since.
func (f *hubFlags) keepName(home state.Home) error {
	if f.hub != hubLocal || f.url != "" {
		return nil
	}
	dir, err := home.Hub()
	if err != nil {
		return err
	}
	if f.kept, err = hostname.Keep(dir); err != nil {
		return nameless(err, "--hub-url https://NAME:PORT")
	}
	_, port, err := net.SplitHostPort(f.listen)
	if err == nil {
		f.url, err = wire.ParseHubURL("https://" + f.kept.Kept + ":" + port)
	}
	return err
}

// nameless makes wrong usage of a computer's name that no host can have; flag gives
// it another.
func nameless(err error, flag string) error {
	if unusable, ok := errors.AsType[*hostname.Unusable](err); ok {
		return command.Usage(unusable.Error(), unusable.Hint()+", or name it by "+flag)
	}
	return err
}

// args are those of the hub's program. It takes its state folder from VMUX_HOME,
// as every program of vmux does.
func (f *hubFlags) args() []string {
	args := []string{"--listen", f.listen, "--public-url", f.url, "--end-with-input"}
	switch {
	case f.localCA:
		args = append(args, "--local-ca", "--local-name", hostOf(f.url))
		if f.listenHTTP != "" {
			args = append(args, "--listen-http", f.listenHTTP)
		}
	case f.behind:
		args = append(args, "--behind-proxy")
	}
	if f.pushSubject != "" {
		args = append(args, "--push-subject", f.pushSubject)
	}
	return args
}

// hostOf returns the host of a hub's URL.
func hostOf(hub string) string {
	u, err := url.Parse(hub)
	if err != nil {
		return "" // not after wire.ParseHubURL
	}
	return u.Hostname()
}

// agentHub is the agent's hub; nil is none. local is its program, if that is beside it.
func (f *hubFlags) agentHub(home state.Home, local *localHub) (*agent.Hub, error) {
	if f.hub == hubNone {
		return nil, nil
	}
	hub := &agent.Hub{URL: f.hub, Local: f.hub == hubLocal, Renamed: f.kept.Renamed}
	file := f.ca
	if hub.Local {
		hub.URL = f.url
		if !f.behind {
			host, port, _ := net.SplitHostPort(f.listen) // checked
			if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
				host = "127.0.0.1" // its public name need not be known here
			}
			hub.Address = net.JoinHostPort(host, port)
		}
		if f.localCA {
			file = filepath.Join(home.Path(), "hub", hubRoot)
		}
	}
	// Asked at each connect: a local hub makes its CA when it is started first.
	hub.Roots = func() (*x509.CertPool, error) {
		if err := local.serves(); err != nil || file == "" {
			return nil, err
		}
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the hub's CA: %w", err)
		}
		return relay.Roots(pem)
	}
	if _, err := hub.Roots(); f.ca != "" && err != nil {
		return nil, command.Wrong(fmt.Errorf("--hub-ca: %w", err), "--hub-ca FILE, with certificates in PEM")
	}
	return hub, nil
}

// localHub is the hub's program beside the agent.
type localHub struct {
	cancel context.CancelFunc
	parts  sync.WaitGroup
	config localhub.Config
	name   hostname.Name

	mu    sync.Mutex
	ready bool   // it has said so, and has not ended since
	said  string // last
}

// readyLine is in the hub's log as soon as it listens.
const readyLine = ` msg="hub is ready" `

// serves is an error while the hub beside the agent does not. Whoever listens at its address
// then is another one, another user's of this computer for example, which could serve its
// own page to those who believe it to be theirs.
func (h *localHub) serves() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.ready:
		return nil
	case strings.Contains(h.said, "address already in use"):
		return command.WithHint(fmt.Errorf("the hub beside the agent does not run: %s", h.said),
			"end what listens there; or, if it is another user's hub, give this one a port of its own: hub-listen in the configuration file")
	}
	return errors.New(strings.TrimSuffix("the hub beside the agent does not run: "+h.said, ": "))
}

// note keeps what the hub says of how it is.
func (h *localHub) note(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ready = h.ready || strings.Contains(line, readyLine)
	if !strings.HasPrefix(line, "hint: ") { // which stands below what it is about
		h.said = line
	}
}

func (h *localHub) ended() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ready = false
}

// findLocalHub finds the program, before anything is started; nil is none.
func (a *app) findLocalHub(f hubFlags, log *slog.Logger) (*localHub, error) {
	if f.hub != hubLocal {
		return nil, nil
	}
	path, err := localhub.Find()
	if err != nil {
		return nil, command.WithHint(err, "make build, or install %s beside vmux", localhub.ProgramName)
	}
	h := &localHub{name: f.kept}
	h.config = localhub.Config{Program: path, Args: f.args(), Log: log, Ended: h.ended, Lines: func(line string) {
		h.note(line)
		_, _ = a.Logs().Write([]byte(line + "\n"))
	}}
	return h, nil
}

// start runs the hub until stop. Without one they do nothing.
func (h *localHub) start(ctx context.Context) {
	if h == nil {
		return
	}
	ctx, h.cancel = context.WithCancel(ctx)
	h.parts.Go(func() {
		if err := localhub.Run(ctx, h.config); err != nil {
			h.config.Log.Error("no hub", "error", err)
		}
	})
	h.parts.Go(func() {
		h.name.Watch(ctx, func(what, hint string) { h.config.Log.Warn(what, "hint", hint) })
	})
}

// stop returns when the hub is gone.
func (h *localHub) stop() {
	if h == nil || h.cancel == nil {
		return
	}
	h.cancel()
	h.parts.Wait()
}
