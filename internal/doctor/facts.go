package doctor

import (
	"fmt"
	"io/fs"
	"strings"
	"time"

	"vmux/internal/control"
	"vmux/internal/hubpage"
)

// Facts are what Look has seen.
type Facts struct {
	Version  string // of this program
	Platform string // operating system and processor
	Late     []string
	// Status is the agent's; nil: AgentErr says why.
	Status   *control.Status
	AgentErr error
	// Phones are those of Status once they were asked for a sign of life.
	Phones []control.Device
	Socket Socket // of the agent, for SSH clients
	Files  []File
	// Env is SSH_AUTH_SOCK in this shell, and Desktop that of what the desktop starts.
	Env     Named
	Desktop DesktopEnv
	SSH     SSH
	Others  []string // names of other agents that run
	Service Service
	Page    Page
	Woken   []control.Woken // with --ring alone
	Server  *Server         // with --host alone
}

// Socket is the agent's socket as a client meets it.
type Socket struct {
	Path string
	Mode fs.FileMode
	Err  error // nil: it lists keys
}

// File is a file or folder that others must not change.
type File struct {
	Path  string
	Mode  fs.FileMode // without the rights of a group in which nobody else is
	Owned bool        // by this user
}

// Named is a socket that somebody names.
type Named struct {
	Path string // "": none
	Ours bool   // it is the agent's
	Name string // whose it is, as far as its place tells
}

// DesktopEnv is what programs of the desktop find in their environment.
type DesktopEnv struct {
	Known bool // there is a desktop, and it tells
	// Untold: who asks sits at a desktop, which has started its terminal with another agent
	// than systemd knows of, or with none.
	Untold bool
	Named
}

// SSH is OpenSSH's client.
type SSH struct {
	Missing bool
	Banner  string // as `ssh -V` says
	// Config is what `ssh -G` says for the host: values by keyword. ConfigErr is what ssh
	// has against its configuration.
	Config    map[string][]string
	ConfigErr string
	Agent     Named  // by IdentityAgent
	KeyNamed  bool   // an IdentityFile is a key of the agent's
	NoCert    string // a CertificateFile that is not there
}

// one returns a keyword's value.
func (s SSH) one(keyword string) string { return strings.Join(s.Config[keyword], " ") }

// version reads the number in the banner; zero if there is none.
func (s SSH) version() version { return versionIn(s.Banner) }

type version struct{ major, minor int }

func (v version) String() string {
	if v == (version{}) {
		return "unknown"
	}
	return fmt.Sprintf("%d.%d", v.major, v.minor)
}

func (v version) before(major, minor int) bool {
	return v != version{} && (v.major < major || v.major == major && v.minor < minor)
}

// versionIn finds the version behind OpenSSH_, or at the beginning.
func versionIn(text string) version {
	if _, behind, ok := strings.Cut(text, "OpenSSH_"); ok {
		text = behind
	}
	var v version
	if _, err := fmt.Sscanf(strings.TrimPrefix(text, "v"), "%d.%d", &v.major, &v.minor); err != nil {
		return version{}
	}
	return v
}

// Service is the user's service manager and vmux's unit there.
type Service struct {
	Known   bool // there is a manager, and it tells
	Enabled bool // vmux is started at login
	Failed  bool
	Start   string // the command that starts it
	Restart string // "": some other service, or none, runs the agent
	Log     string // the command that shows its log
}

// Page is how the page of the agent's hub compares.
type Page struct {
	Asked  bool
	Report hubpage.Report
	Err    error
}

// Server is what a login to a server showed.
type Server struct {
	Host     string
	Unclear  string // ssh's last words, if it did not get to the keys
	Banner   string // of the server
	LoggedIn bool
	ByCert   bool
	ByOther  bool // it was by no key of the agent's
	Taken    bool // the server took a key of the agent's, whoever signed
	// WantsMore: it took a key of the agent's and its signature, and wants a password or the
	// like as well (AuthenticationMethods).
	WantsMore bool
	Clock     time.Duration // how far the server's is ahead; counts if LoggedIn
}
