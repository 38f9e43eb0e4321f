package doctor

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"math/big"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vmux/internal/control"
	"vmux/internal/hubpage"
	"vmux/internal/leakcheck"
	"vmux/internal/wire"
)

// TestMain fails when a test has left a goroutine behind.
func TestMain(m *testing.M) { os.Exit(leakcheck.Run(m)) }

const socket = "/home/alice/.ssh/vmux-agent.sock"

// whole is a world in which nothing is wrong.
func whole() Facts {
	phones := []control.Device{
		{ID: "a", Name: "Alice's phone", Connected: true, Route: "hub:https://hub.example.com", RoundTripMilliseconds: 40, ProgramVersion: "0.1.0", Wakeable: true},
		{ID: "b", Name: "spare", Wakeable: true},
	}
	return Facts{
		Version: "0.1.0", Platform: "linux/amd64", Phones: phones,
		Status: &control.Status{
			Connected: true, Version: "0.1.0", PID: 4711, Socket: socket, Phones: phones,
			Certificate: control.Certificate{State: control.CertificateValid, ValidBefore: time.Now().Add(time.Hour)},
			Hub:         &control.Hub{URL: "https://hub.example.com", Connected: true},
			Identities: []control.Identity{
				{Comment: "work", Fingerprint: "SHA256:x", Algorithm: "ssh-ed25519", Phones: []string{"Alice's phone", "spare"}, PhoneIDs: []string{"a", "b"}},
				{Comment: "vmux-session-cert", Certificate: true},
			},
		},
		Socket: Socket{Path: socket, Mode: 0o600},
		Files:  []File{{"/home/alice/.ssh", 0o700, true}, {"/home/alice/.ssh/config", 0o644, true}},
		Env:    Named{Path: socket, Ours: true},
		SSH: SSH{Banner: "OpenSSH_10.3p1 Debian-1, OpenSSL", Config: map[string][]string{
			"pubkeyauthentication": {"true"}, "identityagent": {socket}, "identityfile": {"~/.ssh/id_ed25519"}},
			Agent: Named{Path: socket, Ours: true}},
		Desktop: DesktopEnv{Known: true, Named: Named{Path: socket, Ours: true}},
		Others:  []string{"gpg-agent"},
		Service: Service{Known: true, Enabled: true, Start: "systemctl --user start vmux-agent", Log: "journalctl --user -u vmux-agent"},
		Page:    Page{Asked: true},
	}
}

// rsaLine is the line of an RSA key of that length, which nobody has.
func rsaLine(bits int) string {
	n := new(big.Int).SetBit(big.NewInt(1), bits-1, 1)
	key, err := ssh.NewPublicKey(&rsa.PublicKey{N: n, E: 65537})
	if err != nil {
		panic(err)
	}
	return string(ssh.MarshalAuthorizedKey(key))
}

// worlds are what can be wrong: what is changed, and the only thing that is to be named.
var worlds = []struct {
	name   string
	change func(*Facts)
	want   string // level, check, code
}{
	{"nothing", func(*Facts) {}, ""},
	{"no agent", func(f *Facts) { f.stop(control.ErrNotRunning) }, "failure agent not-running"},
	{"the service has failed", func(f *Facts) { f.stop(control.ErrNotRunning); f.Service.Failed = true }, "failure agent service-failed"},
	{"the agent hangs", func(f *Facts) { f.stop(context.DeadlineExceeded) }, "failure agent no-answer"},
	{"the socket is gone", func(f *Facts) { f.Socket.Err = fs.ErrNotExist }, "failure socket missing"},
	{"nobody serves the socket", func(f *Facts) { f.Socket.Err = syscall.ECONNREFUSED }, "failure socket nobody-there"},
	{"the socket hangs", func(f *Facts) { f.Socket.Err = os.ErrDeadlineExceeded }, "failure socket no-list"},
	{"the socket is open to others", func(f *Facts) { f.Socket.Mode = 0o666 }, "warning socket mode"},
	{"others can write to the state", func(f *Facts) { f.Files[0].Mode = 0o775 }, "failure permissions writable"},
	{"another user's ~/.ssh", func(f *Facts) { f.Files[0].Owned = false }, "failure permissions owner"},
	{"locked", func(f *Facts) { f.Status.Locked = true }, "failure lock locked"},
	{"no ssh", func(f *Facts) { f.SSH = SSH{Missing: true} }, "failure ssh missing"},
	{"an old ssh, and passkeys alone", func(f *Facts) {
		f.SSH.Banner, f.Status.Identities[0].Algorithm = "OpenSSH_9.2p1", "sk-ecdsa-sha2-nistp256@openssh.com"
	}, "failure ssh no-passkeys"},
	{"an old ssh, and a passkey too", func(f *Facts) {
		f.SSH.Banner = "OpenSSH_9.2p1"
		f.Status.Identities = append(f.Status.Identities, control.Identity{Algorithm: "sk-ecdsa-sha2-nistp256@openssh.com"})
	}, "warning ssh no-passkeys"},
	{"an ssh that does not bind", func(f *Facts) { f.SSH.Banner = "OpenSSH_8.4p1" }, "warning ssh no-binding"},
	{"ssh refuses its configuration", func(f *Facts) { f.SSH.Config, f.SSH.ConfigErr = nil, "line 3: Bad configuration option: x" }, "failure ssh's configuration refused"},
	{"no keys at all", func(f *Facts) { f.SSH.Config["pubkeyauthentication"] = []string{"false"} }, "failure ssh's configuration keys-off"},
	{"other ways are preferred", func(f *Facts) { f.SSH.Config["preferredauthentications"] = []string{"password,gssapi"} }, "failure ssh's configuration keys-off"},
	{"only named keys", func(f *Facts) { f.SSH.Config["identitiesonly"] = []string{"yes"} }, "failure ssh's configuration identities-only"},
	{"a kind of key that ssh does not offer", func(f *Facts) {
		f.SSH.Config["pubkeyacceptedalgorithms"] = []string{"ecdsa-sha2-nistp256,rsa-sha2-512"}
	}, "failure ssh's configuration algorithms"},
	{"one kind of two", func(f *Facts) {
		f.SSH.Config["pubkeyacceptedalgorithms"] = []string{"ecdsa-sha2-nistp256,rsa-sha2-512"}
		f.Status.Identities = append(f.Status.Identities, control.Identity{Algorithm: "ssh-rsa"})
	}, "warning ssh's configuration algorithms"},
	{"an RSA key that is too short for ssh", func(f *Facts) {
		f.SSH.Config["pubkeyacceptedalgorithms"], f.SSH.Config["requiredrsasize"] = []string{"ssh-ed25519,rsa-sha2-512"}, []string{"3072"}
		f.Status.Identities = append(f.Status.Identities, control.Identity{Algorithm: "ssh-rsa", PublicKey: rsaLine(2048)}, control.Identity{Algorithm: "ssh-rsa", PublicKey: rsaLine(3072)})
	}, "warning ssh's configuration algorithms"},
	{"a certificate that is not there", func(f *Facts) { f.SSH.NoCert = "~/.ssh/c.pub" }, "warning ssh's configuration no-certificate-file"},
	{"IdentityAgent none", func(f *Facts) { f.SSH.agent("none", Named{}) }, "failure shell none"},
	{"IdentityAgent of another", func(f *Facts) { f.SSH.agent("/x", Named{Path: "/x", Name: "1Password"}) }, "failure shell identity-agent"},
	{"no agent in the shell", func(f *Facts) { f.SSH.agent("", Named{}); f.Env = Named{} }, "failure shell no-agent"},
	{"another agent in the shell", func(f *Facts) { f.SSH.agent("SSH_AUTH_SOCK", Named{}); f.Env = Named{Path: "/x", Name: "gcr"} }, "failure shell other-agent"},
	{"no agent for the desktop", func(f *Facts) { f.Desktop.Named = Named{} }, "warning desktop no-agent"},
	{"a desktop that does not read environment.d", func(f *Facts) { f.Desktop.Untold = true }, "warning desktop not-read"},
	{"another agent for the desktop", func(f *Facts) { f.Desktop.Named = Named{Path: "/x", Name: "gcr"} }, "warning desktop other-agent"},
	{"the agent behind vmux is gone", func(f *Facts) { f.Status.Upstream = &control.Upstream{Socket: "/x", Error: "refused"} }, "warning other agents upstream"},
	{"not started at login", func(f *Facts) { f.Service.Enabled = false }, "warning service not-enabled"},
	{"the hub is away, and a phone there all the same", func(f *Facts) { f.Status.Hub.Connected = false }, "warning hub not-connected"},
	{"the hub is away, and so the phone", func(f *Facts) { f.Status.Hub.Connected = false; f.away(false) }, "failure hub not-connected"},
	{"the computer has another name", func(f *Facts) { f.Status.Hub.Renamed, f.Status.Hub.Hint = "x", "y" }, "warning hub renamed"},
	{"the hub serves another page", func(f *Facts) { f.Page.Report.Differences = make([]hubpage.Difference, 1) }, "failure hub's page differs"},
	{"the hub's page cannot be had", func(f *Facts) { f.Page.Err = errors.New("timeout") }, "warning hub's page not-compared"},
	{"no phone is paired", func(f *Facts) { f.Phones, f.Status.Identities = nil, nil }, "failure phone none"},
	{"no phone is there", func(f *Facts) { f.away(false) }, "failure phone away"},
	{"no phone is reached", func(f *Facts) {
		f.away(false)
		f.Phones[1].NotReached, f.Phones[1].Hint = "no route to host", "join its network"
	}, "failure phone not-reached"},
	{"the phone has no key", func(f *Facts) { f.Status.Identities = nil }, "failure phone no-keys"},
	{"the phone is slow", func(f *Facts) { f.Phones[0].RoundTripMilliseconds = 800 }, "warning latency slow"},
	{"the phone is silent", func(f *Facts) { f.Phones[0].RoundTripMilliseconds = 0 }, "warning latency no-answer"},
	{"the clocks differ", func(f *Facts) { f.Phones[0].ClockDifferenceMilliseconds = -40_000 }, "warning clock off"},
	{"the clocks differ too much", func(f *Facts) { f.Phones[0].ClockDifferenceMilliseconds = 3_600_000 }, "failure clock off"},
	{"the phone cannot be rung", func(f *Facts) { f.Phones[0].WakeProblem, f.Phones[0].WakeHint = "notifications are off", "in the app" }, "warning ring cannot"},
	{"the last ring failed", func(f *Facts) { f.Phones[0].LastWake = &control.Wake{Error: "410"} }, "warning ring failed"},
	{"ringing fails", func(f *Facts) {
		f.Woken = []control.Woken{{Name: "x", Error: control.Errorf("x", "open the app", "gone")}}
	}, "warning ring failed"},
	{"the certificate has expired", func(f *Facts) { f.Status.Certificate.State = control.CertificateExpired }, "warning certificate expired"},
	{"another CA", func(f *Facts) { f.Phones[0].CAChangedTo = "SHA256:y" }, "failure certificate ca-changed"},
	{"an agent of before", func(f *Facts) { f.Status.Version = "0.0.9" }, "warning versions agent"},
	{"a phone of before", func(f *Facts) { f.Phones[0].ProgramVersion = "0.2.3" }, "warning versions phone"},
	{"one way in", func(f *Facts) { f.Status.Identities[0].PhoneIDs = []string{"a"} }, "warning ways in one"},
	{"something does not answer", func(f *Facts) { f.Late, f.SSH.Config = []string{"ssh"}, nil }, "warning looking late"},
	{"the server is not there", func(f *Facts) { f.Server = &Server{Unclear: "connection refused"} }, "failure server not-reached"},
	{"the server has another key", func(f *Facts) { f.Server = &Server{Banner: "OpenSSH_9.2", Unclear: "Host key verification failed."} }, "failure server host-key"},
	{"the server takes no key", func(f *Facts) { f.Server = &Server{Banner: "OpenSSH_9.2", Unclear: "Permission denied (publickey)."} }, "failure server no-key"},
	{"denied on the phone", func(f *Facts) { f.Server = &Server{Banner: "OpenSSH_9.2", Taken: true} }, "failure server not-signed"},
	{"the server does not know the CA", func(f *Facts) { f.Server = &Server{LoggedIn: true, Banner: "OpenSSH_9.2"} }, "warning server no-ca"},
	{"the server knows another key", func(f *Facts) { f.Server = &Server{LoggedIn: true, ByOther: true, Banner: "OpenSSH_9.2"} }, "warning server other-key"},
	{"the server wants more than a key", func(f *Facts) { f.Server = &Server{Banner: "OpenSSH_9.2", Taken: true, WantsMore: true} }, ""},
	{"the server's clock is off", func(f *Facts) { f.Server = &Server{LoggedIn: true, ByCert: true, Clock: time.Hour} }, "warning server clock"},
	{"an old server", func(f *Facts) { f.Server = &Server{LoggedIn: true, ByCert: true, Banner: "OpenSSH_7.4"} }, "warning server no-passkeys"},
}

// stop is a world without an agent: what it would have said is not known.
func (f *Facts) stop(err error) {
	f.Status, f.AgentErr, f.Phones, f.Page = nil, err, nil, Page{}
	f.Socket.Err = syscall.ECONNREFUSED
}

func (f *Facts) away(wakeable bool) {
	f.Status.Connected = false
	for i := range f.Phones {
		f.Phones[i].Connected, f.Phones[i].Wakeable = false, wakeable
	}
}

func (s *SSH) agent(set string, n Named) {
	s.Agent = n
	delete(s.Config, "identityagent")
	if set != "" {
		s.Config["identityagent"] = []string{set}
	}
}

// In each world what is wrong is named, with what to do, and nothing else is.
func TestNamesWhatIsWrongAndNothingElse(t *testing.T) {
	for _, w := range worlds {
		f := whole()
		w.change(&f)
		var bad []string
		for _, found := range Judge(f) {
			if found.Level != OK {
				bad = append(bad, string(found.Level)+" "+found.Check+" "+found.Code)
			}
			if found.Text == "" || strings.Contains(found.Text, "%!") || (found.Hint != "") != (found.Level != OK) {
				t.Errorf("%s: %+v", w.name, found)
			}
		}
		if got := strings.Join(bad, "; "); got != w.want {
			t.Errorf("%s: %q, want %q", w.name, got, w.want)
		}
	}
}

// A phone that is asleep and can be woken is no failure, nor is it that an app of no
// release has no version.
func TestWhatIsNotWrong(t *testing.T) {
	for name, change := range map[string]func(*Facts){
		"asleep":           func(f *Facts) { f.away(true) },
		"no hub":           func(f *Facts) { f.Status.Hub = nil },
		"no certificate":   func(f *Facts) { f.Status.Certificate = control.Certificate{State: control.CertificateNone} },
		"no version":       func(f *Facts) { f.Phones[0].ProgramVersion = "(devel)" },
		"no desktop":       func(f *Facts) { f.Desktop = DesktopEnv{} },
		"no systemd":       func(f *Facts) { f.Service = Service{} },
		"by the variable":  func(f *Facts) { f.SSH.agent("", Named{}) },
		"by IdentityAgent": func(f *Facts) { f.Env = Named{Path: "/x", Name: "gcr"} },
		"one phone and a backup": func(f *Facts) {
			f.Status.Identities[0].PhoneIDs, f.Status.Identities[0].SecondWay = []string{"a"}, true
		},
		"named keys": func(f *Facts) { f.SSH.Config["identitiesonly"] = []string{"yes"}; f.SSH.KeyNamed = true },
		"a build without the page's list": func(f *Facts) {
			f.Page.Err = control.Errorf(control.CodeInvalid, "make build", "no list")
		},
	} {
		f := whole()
		change(&f)
		for _, found := range Judge(f) {
			if found.Level != OK {
				t.Errorf("%s: %+v", name, found)
			}
		}
	}
}

// What can be posted has no word that came from outside: whatever stands in the facts,
// the report of a world is the same.
func TestReportHasNoNames(t *testing.T) {
	for _, w := range worlds {
		f := whole()
		w.change(&f)
		b, err := json.Marshal(ReportOf(f, Judge(f)))
		if err != nil {
			t.Fatal(err)
		}
		for _, private := range []string{"Alice", "spare", "alice", "hub.example.com", "SHA256", "4711", "work", "refused by"} {
			if strings.Contains(string(b), private) {
				t.Errorf("%s: %q in %s", w.name, private, b)
			}
		}
	}
}

// What another device or a file says is shown, and does not write to the terminal.
func TestShowsWhatOthersSay(t *testing.T) {
	f := whole()
	f.away(false)
	f.Phones[0].Name, f.Phones[0].NotReached, f.Phones[0].Hint = "a\x1b[2J", "b\nfailure: c", "d\x07"
	for _, found := range Judge(f) {
		if strings.ContainsAny(found.Text+found.Hint, "\x1b\n\x07") {
			t.Errorf("%q", found)
		}
	}
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]version{
		"OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3": {9, 2}, "OpenSSH_10.3": {10, 3}, "0.1.0": {0, 1}, "v1.12.3": {1, 12},
		"": {}, "dropbear_2022.83": {}, "(devel)": {}, "OpenSSH_for_Windows_9.5p1": {},
	} {
		if got := versionIn(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// stuck is an agent that answers the first question and then nothing.
type stuck struct{ status control.Status }

func (s stuck) Status(context.Context) (control.Status, error) { return s.status, nil }
func (stuck) Ping(ctx context.Context) ([]control.Device, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
func (stuck) VerifyHub(ctx context.Context) (hubpage.Report, error) {
	<-ctx.Done()
	return hubpage.Report{}, wire.NewError(wire.CodeInternalError)
}
func (stuck) Wake(ctx context.Context, _ string) ([]control.Woken, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// What does not answer is left behind after its time, and named; the rest is told.
func TestNothingIsWaitedForForLong(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := &looker{}
	never := make(chan struct{})
	l.at(ctx, "quick", time.Minute, func(context.Context) func(*Facts) { return func(f *Facts) { f.Version = "seen" } })
	l.at(ctx, "slow", time.Millisecond, func(context.Context) func(*Facts) { <-never; return nil })
	l.at(ctx, "gives up", time.Millisecond, func(ctx context.Context) func(*Facts) { <-ctx.Done(); return nil })
	close(never)
	if slices.Sort(l.facts.Late); l.facts.Version != "seen" || !slices.Equal(l.facts.Late, []string{"gives up", "slow"}) {
		t.Errorf("%+v", l.facts)
	}
	cancel() // a person who has seen enough
	f := Look(ctx, Options{Agent: stuck{*whole().Status}, Socket: socket, Wake: true})
	if !slices.Contains(f.Late, "the phones") {
		t.Errorf("late: %v", f.Late)
	}
}

// A hint is a command as it can be pasted, whatever the paths are.
func TestHintsQuotePaths(t *testing.T) {
	const path = "/Users/zoe/Library/Application Support/vmux/zoe's $x"
	const quoted = `'/Users/zoe/Library/Application Support/vmux/zoe'\''s $x'`
	for _, change := range []func(*Facts){
		func(f *Facts) { f.Socket.Path, f.Socket.Mode = path, 0o666 },
		func(f *Facts) { f.Files[0] = File{path, 0o777, true} },
		func(f *Facts) { f.Files[0] = File{path, 0o700, false} },
		func(f *Facts) { f.Socket.Path, f.Status.Locked = path, true },
		func(f *Facts) {
			f.Socket.Path, f.Env, f.SSH.Agent = path, Named{}, Named{}
			delete(f.SSH.Config, "identityagent")
		},
	} {
		f := whole()
		change(&f)
		hints := ""
		for _, found := range Judge(f) {
			hints += found.Hint + "\n"
		}
		if !strings.Contains(hints, quoted) {
			t.Errorf("no quoted path in %s", hints)
		}
	}
}

// A configuration of ssh's that is a link to root's, as home-manager makes it, is as good as
// this user's own; a folder of root's is not.
func TestRootsConfiguration(t *testing.T) {
	home := t.TempDir()
	if err := errors.Join(os.Mkdir(home+"/.ssh", 0o700), os.Symlink("/etc/passwd", home+"/.ssh/config")); err != nil {
		t.Fatal(err)
	}
	var f Facts
	(&looker{home: home, Options: Options{State: []string{"/etc"}}}).files(t.Context())(&f)
	owned := map[string]bool{}
	for _, file := range f.Files {
		owned[file.Path] = file.Owned
	}
	if want := map[string]bool{"/etc": os.Geteuid() == 0, home + "/.ssh": true, home + "/.ssh/config": true}; !maps.Equal(owned, want) {
		t.Errorf("%v, want %v", owned, want)
	}
}
