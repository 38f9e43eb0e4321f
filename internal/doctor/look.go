package doctor

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"vmux/internal/control"
	"vmux/internal/hubpage"
	"vmux/internal/otheragents"
	"vmux/internal/sshconfig"
)

// How long each thing may take that is looked at; all are looked at beside each other.
const (
	statusTime  = 2 * time.Second
	programTime = 10 * time.Second
	pingTime    = 8 * time.Second
	pageTime    = 20 * time.Second
	wakeTime    = 20 * time.Second
	loginTime   = 2 * time.Minute // a person is asked
)

// Agent is what Look asks of a *control.Client.
type Agent interface {
	Status(ctx context.Context) (control.Status, error)
	Ping(ctx context.Context) ([]control.Device, error)
	VerifyHub(ctx context.Context) (hubpage.Report, error)
	Wake(ctx context.Context, device string) ([]control.Woken, error)
}

// Options say where to look.
type Options struct {
	Version string // of this program
	Agent   Agent
	Socket  string   // where the agent's is, unless it says otherwise
	State   []string // folders that others must not change
	Host    string   // a server to log in to; ssh may ask the phone for it
	Wake    bool     // wake the phones
}

// Look looks at everything. It changes nothing, but for a login with Options.Host and
// the notification on the phone with Options.Wake.
func Look(ctx context.Context, o Options) Facts {
	l := &looker{Options: o, facts: Facts{Version: o.Version, Platform: runtime.GOOS + "/" + runtime.GOARCH}}
	l.home, _ = os.UserHomeDir() // "": nothing is found there
	l.runtime = os.Getenv("XDG_RUNTIME_DIR")
	l.status(ctx)
	var looking sync.WaitGroup
	at := func(name string, limit time.Duration, look func(context.Context) func(*Facts)) {
		looking.Go(func() { l.at(ctx, name, limit, look) })
	}
	at("the agent's socket", programTime, l.socket)
	at("files", programTime, l.files)
	at("ssh", programTime, l.ssh)
	at("the desktop's environment", programTime, l.desktop)
	at("other agents", programTime, l.others)
	at("the service manager", programTime, l.service)
	if l.facts.Status != nil {
		at("the phones", pingTime, l.phones)
		if h := l.facts.Status.Hub; h != nil && h.Connected {
			at("the hub's page", pageTime, l.page)
		}
		if o.Wake {
			at("ringing", wakeTime, l.wake)
		}
	}
	if o.Host != "" {
		at("the login to "+o.Host, loginTime, l.login)
	}
	looking.Wait()
	slices.Sort(l.facts.Late)
	return l.facts
}

// looker is one Look. After status, what is looked at is added under mu.
type looker struct {
	Options
	home, runtime string

	mu    sync.Mutex
	facts Facts
}

// at lets look take so long, and no longer: a file system or a program that does not
// answer at all is left behind.
func (l *looker) at(ctx context.Context, name string, limit time.Duration, look func(context.Context) func(*Facts)) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	seen := make(chan func(*Facts), 1)
	go func() { seen <- look(ctx) }()
	select {
	case add := <-seen:
		l.mu.Lock()
		defer l.mu.Unlock()
		if add != nil {
			add(&l.facts)
		} else if ctx.Err() != nil {
			l.facts.Late = append(l.facts.Late, name)
		}
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		l.facts.Late = append(l.facts.Late, name)
	}
}

func (l *looker) status(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	s, err := l.Agent.Status(ctx)
	if err != nil {
		l.facts.AgentErr = err
	} else {
		l.facts.Status, l.facts.Phones = &s, s.Phones
		l.Socket = s.Socket
	}
	l.facts.Socket.Path = l.Socket
}

// socket asks the agent for its keys as ssh would.
func (l *looker) socket(ctx context.Context) func(*Facts) {
	s := Socket{Path: l.Socket}
	info, err := os.Stat(s.Path)
	if err == nil {
		s.Mode = info.Mode().Perm()
		_, err = keysAt(ctx, s.Path)
	}
	s.Err = err
	return func(f *Facts) { f.Socket = s }
}

// keysAt lists the keys of an agent.
func keysAt(ctx context.Context, path string) ([]*agent.Key, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	return agent.NewClient(conn).List()
}

func (l *looker) files(context.Context) func(*Facts) {
	var list []File
	config := filepath.Join(l.home, ".ssh", "config") // which ssh takes from root, too: NixOS has it so
	paths := append(slices.Clone(l.State), filepath.Join(l.home, ".ssh"), config)
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			list = append(list, File{path, othersMode(info), owned(info, path == config)})
		}
	}
	return func(f *Facts) { f.Files = list }
}

// output runs a program that asks nobody, and returns what it said. One that leaves
// children behind, which keep its output open, is not waited for.
func output(ctx context.Context, name string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, time.Second
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func (l *looker) ssh(ctx context.Context) func(*Facts) {
	var s SSH
	_, banner, err := output(ctx, "ssh", "-V")
	if errors.Is(err, exec.ErrNotFound) {
		return func(f *Facts) { f.SSH.Missing = true }
	}
	s.Banner = banner
	host := l.Host
	if host == "" {
		host = "vmux-doctor.invalid" // what holds for every host
	}
	config, complaint, err := output(ctx, "ssh", "-G", "--", host)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		s.ConfigErr = lastLine(complaint)
	default:
		s.Config = map[string][]string{}
		for line := range strings.Lines(config) {
			keyword, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			s.Config[keyword] = append(s.Config[keyword], value)
		}
	}
	s.Agent = l.named(l.agentOf(s, host))
	paths := func(keyword string) (all []string) { // as ssh takes them, whose -G does not expand them
		for _, path := range s.Config[keyword] {
			if expanded, ok := sshconfig.Expand(path, l.client(host), s.Config); ok && path != "none" {
				all = append(all, expanded)
			}
		}
		return all
	}
	s.KeyNamed = l.keyNamed(paths("identityfile"))
	for _, path := range paths("certificatefile") {
		if _, err := os.Stat(path); err != nil {
			s.NoCert = path
		}
	}
	env := l.named(os.Getenv("SSH_AUTH_SOCK"))
	return func(f *Facts) { f.SSH, f.Env = s, env }
}

// keyNamed reports whether the public half of one of the files is a key of the agent's.
func (l *looker) keyNamed(files []string) bool {
	if l.facts.Status == nil { // set before anything is looked at, as all of Status
		return false
	}
	for _, path := range files {
		b, err := os.ReadFile(path + ".pub")
		if err != nil {
			b, err = os.ReadFile(path)
		}
		key, _, _, _, parseErr := ssh.ParseAuthorizedKey(b)
		if err != nil || parseErr != nil {
			continue
		}
		fingerprint := ssh.FingerprintSHA256(key)
		if slices.ContainsFunc(l.facts.Status.Identities, func(i control.Identity) bool { return i.Fingerprint == fingerprint }) {
			return true
		}
	}
	return false
}

// client is the ssh of this user to a host.
func (l *looker) client(host string) sshconfig.Client {
	c := sshconfig.Client{Args: []string{"ssh", host}, Env: os.Environ(), Home: l.home}
	if me, err := user.Current(); err == nil {
		c.User, c.UID = me.Username, me.Uid
	}
	return c
}

// agentOf is the socket that IdentityAgent names (ssh_config(5)).
func (l *looker) agentOf(s SSH, host string) string {
	path := s.one("identityagent")
	if variable, ok := strings.CutPrefix(path, "$"); ok && !strings.HasPrefix(variable, "{") {
		return os.Getenv(variable)
	}
	if expanded, ok := sshconfig.Expand(path, l.client(host), s.Config); ok {
		return expanded
	}
	return path
}

// named says whose socket it is that somebody names. Nobody puts a home folder for a ~ in the
// environment, where quotes or a file without a shell have left it.
func (l *looker) named(path string) Named {
	n := Named{Path: path}
	if path == "" {
		return n
	}
	named, err := os.Stat(path)
	own, ownErr := os.Stat(l.Socket)
	n.Ours = filepath.Clean(path) == filepath.Clean(l.Socket) || err == nil && ownErr == nil && os.SameFile(named, own)
	n.Name = otheragents.NameOf(path, l.home, l.runtime)
	if err != nil {
		n.Name = "nobody, since that socket is not there"
	}
	return n
}

func (l *looker) others(ctx context.Context) func(*Facts) {
	var names []string
	for _, other := range otheragents.Serving(ctx, l.home, l.runtime) {
		if conn, err := (&net.Dialer{}).DialContext(ctx, "unix", other.Socket); err == nil {
			conn.Close()
			names = append(names, other.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return func(f *Facts) { f.Others = names }
}

func (l *looker) phones(ctx context.Context) func(*Facts) {
	list, err := l.Agent.Ping(ctx)
	if err != nil {
		return nil
	}
	return func(f *Facts) { f.Phones = list }
}

func (l *looker) page(ctx context.Context) func(*Facts) {
	r, err := l.Agent.VerifyHub(ctx)
	return func(f *Facts) { f.Page = Page{true, r, err} }
}

func (l *looker) wake(ctx context.Context) func(*Facts) {
	woken, err := l.Agent.Wake(ctx, "")
	if err != nil {
		woken = []control.Woken{{Name: "the phone", Error: control.AsError(err)}}
	}
	return func(f *Facts) { f.Woken = woken }
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
