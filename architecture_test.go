// Package vmux holds no code: its tests state the rules that hold for the
// module as a whole, each with its reason.
package vmux

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// rule says what a package must not come to depend on, directly or through
// others. A rule for a package that does not exist yet waits for it.
type rule struct {
	from   string   // package below vmux/; "x/..." is x and all below it
	never  []string // packages; "x/..." is x and all below it
	except []string // what of never is allowed
	why    string
}

var dependencyRules = []rule{
	{
		from: "internal/agent/...", never: []string{"vmux/internal/signer/..."},
		why: "the computer must hold no code that handles a phone's private keys",
	},
	{
		from: "internal/keyfile", never: []string{"vmux/..."}, except: []string{"vmux/internal/keyfile"},
		why: "it reads what anybody may have written, and knows nothing of what is done with a key",
	},
	{
		from: "internal/webauthn", never: []string{"vmux/..."}, except: []string{"vmux/internal/webauthn", "vmux/internal/sshctx/...", "vmux/internal/wire/..."},
		why: "it reads what any browser and provider may have written, and knows nothing of what is done with a passkey",
	},
	{
		from: "internal/agent/...", never: []string{"vmux/internal/keyfile"},
		why: "the computer must hold no code that handles private key files",
	},
	{
		from: "internal/desktop", never: []string{"vmux/..."}, except: []string{"vmux/internal/desktop"},
		why: "it shows text to whoever sits there, and need not know what it is about",
	},
	{
		from: "internal/agent/denials", never: []string{"vmux/internal/agent/...", "vmux/internal/link/..."},
		except: []string{"vmux/internal/agent/denials", "vmux/internal/agent/client"},
		why:    "whether a person was asked before follows from the request, and not from who asks",
	},
	{
		from: "internal/config", never: []string{"vmux/..."},
		except: []string{"vmux/internal/config", "vmux/internal/state", "vmux/internal/filelock", "vmux/internal/wire/..."},
		why:    "it reads what a person wrote, and knows no setting but by a command's flags",
	},
	{
		from: "internal/setup", never: []string{"vmux/..."},
		except: []string{"vmux/internal/setup", "vmux/internal/state", "vmux/internal/filelock", "vmux/internal/otheragents", "vmux/internal/wire/..."},
		why:    "it writes a person's files and takes that back, and asks nobody",
	},
	{
		from: "internal/agent/keys", never: []string{"vmux/internal/agent/..."}, except: []string{"vmux/internal/agent/keys"},
		why: "what phones hold does not depend on who asks for it",
	},
	{
		from: "internal/agent/listing", never: []string{"vmux/internal/agent/...", "vmux/internal/link/..."},
		except: []string{"vmux/internal/agent/listing", "vmux/internal/agent/keys", "vmux/internal/agent/client"},
		why:    "what is listed follows from keys, the client and earlier logins, and never from a phone that has to be asked",
	},
	{
		from: "internal/agent/waking", never: []string{"vmux/internal/agent/..."}, except: []string{"vmux/internal/agent/waking"},
		why: "it wakes phones for any request, and asks nothing back of the agent",
	},
	{
		from: "internal/agent/client", never: []string{"vmux/..."},
		except: []string{
			"vmux/internal/agent/client", "vmux/internal/filelock", "vmux/internal/sshagent", "vmux/internal/sshconfig", "vmux/internal/sshctx", "vmux/internal/wire",
		},
		why: "it tells facts about a program of this computer, and knows nothing of phones or of who asks it",
	},
	{
		from: "internal/agent/journal", never: []string{"vmux/internal/agent/...", "vmux/internal/link/..."},
		except: []string{"vmux/internal/agent/journal"},
		why:    "every room of the agent tells the journal, so the journal must know none of them",
	},
	{
		from: "internal/agent/origin", never: []string{"vmux/internal/agent/...", "vmux/internal/link/..."},
		except: []string{"vmux/internal/agent/origin", "vmux/internal/agent/client"},
		why:    "where a request comes from does not depend on what is asked for, or of whom",
	},
	{
		from: "internal/agent/pairing", never: []string{"vmux/internal/agent/..."}, except: []string{"vmux/internal/agent/pairing"},
		why: "who may pair must not depend on keys, certificates or requests",
	},
	{
		from: "internal/agent/upstream", never: []string{"vmux/..."},
		except: []string{
			"vmux/internal/agent/upstream", "vmux/internal/filelock", "vmux/internal/sshagent", "vmux/internal/sshctx", "vmux/internal/wire",
		},
		why: "another agent's keys must not come near the phones', nor decide who may use them",
	},
	{
		from: "internal/agent/certificate", never: []string{"vmux/internal/agent/...", "vmux/internal/state"},
		except: []string{
			"vmux/internal/agent/certificate", "vmux/internal/agent/client", "vmux/internal/agent/journal", "vmux/internal/agent/origin",
		},
		why: "what keeps the certificate is given how to ask a phone, and must not know who wants a signature",
	},
	{
		from: "internal/signer/...", never: []string{"vmux/internal/agent/..."},
		why: "the phone must work without the computer's side: it is compiled for the browser",
	},
	{
		from: "internal/wire/...", never: []string{"vmux/..."}, except: []string{"vmux/internal/wire/..."},
		why: "the vocabulary is what everything else rests on",
	},
	{
		from: "internal/device/...", never: []string{"vmux/..."},
		except: []string{"vmux/internal/device/...", "vmux/internal/wire/..."},
		why:    "imports point one way: link, signer → device, sshctx → wire",
	},
	{
		from: "internal/sshctx/...", never: []string{"vmux/..."},
		except: []string{"vmux/internal/sshctx/...", "vmux/internal/wire/..."},
		why:    "imports point one way: link, signer → device, sshctx → wire",
	},
	{
		from: "internal/link/...", never: []string{"vmux/..."},
		except: []string{"vmux/internal/link/...", "vmux/internal/device/...", "vmux/internal/wire/..."},
		why:    "the link carries messages for both sides and for any route; it must not know who speaks",
	},
	{
		from: "internal/signer/...", never: []string{"vmux/..."},
		except: []string{
			"vmux/internal/signer/...", "vmux/internal/keyfile", "vmux/internal/webauthn", "vmux/internal/sshctx/...", "vmux/internal/device/...", "vmux/internal/wire/...",
			"vmux/internal/confusable",
		},
		why: "what decides over signatures takes requests and gives answers, whatever link they come over",
	},
	{
		from: "internal/signer/documents", never: []string{"vmux/..."}, except: []string{"vmux/internal/signer/documents"},
		why: "it keeps any room's document, and does not know what it says",
	},
	{
		from: "internal/signer/activity", never: []string{"vmux/internal/signer/..."},
		except: []string{"vmux/internal/signer/activity", "vmux/internal/signer/documents"},
		why:    "every room of the phone tells the log, so the log must know none of them",
	},
	{
		from: "internal/signer/admission", never: []string{"vmux/internal/signer/..."}, except: []string{"vmux/internal/signer/admission"},
		why: "whether a request may be looked at does not depend on what it asks for",
	},
	{
		from: "internal/signer/hosts", never: []string{"vmux/internal/signer/..."},
		except: []string{"vmux/internal/signer/hosts", "vmux/internal/signer/documents"},
		why:    "where a login leads does not depend on the key, or on what is allowed",
	},
	{
		from: "internal/signer/policy", never: []string{"vmux/internal/signer/..."},
		except: []string{"vmux/internal/signer/policy", "vmux/internal/signer/hosts", "vmux/internal/signer/documents"},
		why:    "whether a use is allowed follows from the rules and the request, and not from what was granted or who is asked",
	},
	{
		from: "internal/signer/identity", never: []string{"vmux/internal/signer/..."},
		except: []string{
			"vmux/internal/signer/identity", "vmux/internal/signer/activity", "vmux/internal/signer/documents", "vmux/internal/signer/hosts", "vmux/internal/signer/policy",
		},
		why: "what holds the keys signs what it is given, and must not know who asks",
	},
	{
		from: "internal/signer/certificates", never: []string{"vmux/internal/signer/..."},
		except: []string{"vmux/internal/signer/certificates", "vmux/internal/signer/activity", "vmux/internal/signer/documents"},
		why:    "it remembers certificates, and cannot make one",
	},
	{
		from: "internal/signer/backup", never: []string{"vmux/internal/signer/..."},
		except: []string{"vmux/internal/signer/backup", "vmux/internal/signer/certificates", "vmux/internal/signer/activity", "vmux/internal/signer/hosts", "vmux/internal/signer/policy", "vmux/internal/signer/documents"},
		why:    "it is a file's form: which keys go in, and what becomes of those that come out, is decided elsewhere",
	},
	{
		from: "internal/signer/authority", never: []string{"vmux/internal/signer/..."},
		except: []string{
			"vmux/internal/signer/authority", "vmux/internal/signer/activity", "vmux/internal/signer/documents", "vmux/internal/signer/hosts",
			"vmux/internal/signer/identity", "vmux/internal/signer/policy",
		},
		why: "what keeps the CA and its policy must not know who wants a certificate",
	},
	{
		from: "internal/signer/transfer", never: []string{"vmux/internal/signer", "vmux/internal/signer/admission"},
		why: "what leaves in a backup and comes back does not depend on requests, or on what was granted",
	},
	{
		from: "internal/browserphone/secondway", never: []string{"vmux/internal/browserphone/...", "vmux/internal/link/..."}, except: []string{"vmux/internal/browserphone/secondway"},
		why: "what is known of a backup does not depend on what the page can do besides",
	},
	{
		from: "internal/link/race", never: []string{"vmux/..."}, except: []string{"vmux/internal/link/race"},
		why: "it knows nothing of what is connected to",
	},
	{
		from: "internal/errorstream", never: []string{"vmux/..."}, except: []string{"vmux/internal/errorstream"},
		why: "it writes what any program tells",
	},
	{
		from: "internal/filelock", never: []string{"vmux/..."}, except: []string{"vmux/internal/filelock"},
		why: "it locks any file, and does not know what for",
	},
	{
		from: "internal/statusview", never: []string{"vmux/internal/agent/...", "vmux/internal/link/...", "vmux/internal/cli/...", "vmux/internal/state"},
		why: "it draws what it is given, and must not look for more by itself",
	},
	{
		from: "internal/doctor", never: []string{"vmux/internal/agent/...", "vmux/internal/link/...", "vmux/internal/cli/...", "vmux/internal/state"},
		why: "it looks at the agent from outside, as what fails does",
	},
	{
		from: "internal/otheragents", never: []string{"vmux/..."}, except: []string{"vmux/internal/otheragents"},
		why: "where other programs listen does not depend on vmux",
	},
	{
		from: "internal/confusable", never: []string{"vmux/...", "go.mau.fi/..."},
		why: "everybody who opens the web app downloads it: what its table is made from is for its test",
	},
	{
		from: "internal/cli/command", never: []string{"vmux/internal/cli/...", "vmux/internal/agent/...", "vmux/internal/nativephone/...", "vmux/internal/hub/..."},
		except: []string{"vmux/internal/cli/command"},
		why:    "every command answers through it, and so it must know none of them",
	},
	{
		from: "internal/cli/phonecmd", never: []string{"vmux/internal/agent/...", "vmux/internal/hub/...", "vmux/internal/cli/..."},
		except: []string{"vmux/internal/cli/phonecmd", "vmux/internal/cli/command"},
		why:    "the phone's commands work on a machine that runs no agent",
	},
	{
		from: "internal/cli/gitcmd", never: []string{"vmux/internal/agent/...", "vmux/internal/nativephone/...", "vmux/internal/cli/..."},
		except: []string{"vmux/internal/cli/gitcmd", "vmux/internal/cli/command"},
		why:    "git asks the agent that runs, by its control socket",
	},
	{
		from: "internal/cli/servercmd", never: []string{"vmux/internal/agent/...", "vmux/internal/nativephone/...", "vmux/internal/cli/..."},
		except: []string{"vmux/internal/cli/servercmd", "vmux/internal/cli/command"},
		why:    "servers are told over ssh, with what the agent that runs says at its control socket",
	},
	{
		from: "internal/serveraccess", never: []string{"vmux/..."},
		except: []string{"vmux/internal/serveraccess", "vmux/internal/sshconfig", "vmux/internal/state", "vmux/internal/filelock", "vmux/internal/wire/..."},
		why:    "what is done on servers goes through the person's own ssh, and holds no way to the agent's keys",
	},
	{
		from: "internal/cli/setupcmd", never: []string{"vmux/internal/agent/...", "vmux/internal/nativephone/...", "vmux/internal/hub/...", "vmux/internal/cli/..."},
		except: []string{"vmux/internal/cli/setupcmd", "vmux/internal/cli/command", "vmux/internal/cli/gitcmd"},
		why:    "it asks and tells; what is written is package setup's, and an agent is asked by its control socket",
	},
	{
		from: "internal/cli/backupcmd", never: []string{"vmux/internal/agent/...", "vmux/internal/hub/...", "vmux/internal/cli/..."},
		except: []string{"vmux/internal/cli/backupcmd", "vmux/internal/cli/phonecmd", "vmux/internal/cli/command"},
		why:    "it works where the phone is, on a machine that runs no agent",
	},
	{
		from: "internal/cli/retirecmd", never: []string{"vmux/internal/agent/...", "vmux/internal/nativephone/...", "vmux/internal/signer/...", "vmux/internal/cli/..."},
		except: []string{"vmux/internal/cli/retirecmd", "vmux/internal/cli/command", "vmux/internal/signer/policy", "vmux/internal/signer/hosts", "vmux/internal/signer/documents"},
		why:    "what to do about a phone that is gone is known without it",
	},
	{
		from: "internal/hub/store", never: []string{"vmux/..."}, except: []string{"vmux/internal/hub/store", "vmux/internal/filelock"},
		why: "it keeps any values, and knows neither devices nor what they want kept",
	},
	{
		from: "internal/demo",
		never: []string{
			"vmux/internal/agent/...", "vmux/internal/nativephone/...", "vmux/internal/signer/...", "vmux/internal/link/...",
			"vmux/internal/hub/...", "vmux/internal/cli/...",
		},
		why: "it shows the programs from outside, as a person runs them, and has no way of its own into agent or phone",
	},
	{
		from: "internal/sshd", never: []string{"vmux/..."}, except: []string{"vmux/internal/sshd", "vmux/internal/process"},
		why: "it runs OpenSSH's server, for the demonstration and the tests alike, and knows nothing of vmux",
	},
	{
		from: "internal/process", never: []string{"vmux/..."}, except: []string{"vmux/internal/process"},
		why: "it runs any program",
	},
	{
		from: "internal/...", never: []string{"vmux/cmd/...", "vmux/test/...", "vmux/bench/..."},
		why: "imports point one way: programs and tests are at the top",
	},
	{
		from: "test/browser", never: []string{"vmux/..."}, except: []string{"vmux/test/browser", "vmux/internal/testkit"},
		why: "it drives browsers, and knows neither hub nor agent",
	},
	{
		from: "cmd/...", never: []string{"vmux/internal/sshdtest/...", "vmux/internal/testkit/...", "vmux/internal/wire/wiretest", "vmux/internal/link/relay/hubtest/...", "testing"},
		why: "test programs and their flags have no place in the product",
	},
	{
		from: "cmd/vmux", never: []string{"github.com/nats-io/...", "vmux/internal/hub/..."},
		why: "the agent provably does not link the hub's message bus",
	},
	{
		from: "cmd/vmux", never: []string{"fyne.io/systray/...", "vmux/internal/tray/...", "vmux/internal/pairpage/..."},
		why: "neither agent nor command line links a desktop toolkit",
	},
	{
		from: "cmd/vmux-tray",
		never: []string{
			"vmux/internal/agent/...", "vmux/internal/signer/...", "vmux/internal/nativephone/...", "vmux/internal/link/...",
			"vmux/internal/hub/...", "vmux/internal/cli/...", "vmux/internal/keyfile", "github.com/nats-io/...",
		},
		why: "the tray knows the agent by its control socket only, and nothing in it can approve",
	},
	{
		from: "internal/tray", never: []string{"vmux/...", "fyne.io/systray/..."},
		except: []string{
			"vmux/internal/tray", "vmux/internal/control", "vmux/internal/wire", "vmux/internal/device", "vmux/internal/hubpage",
			"vmux/internal/sshagent", "vmux/internal/sshctx", "vmux/internal/filelock",
		},
		why: "what the menu says follows from a status alone, on every system alike",
	},
	{
		from: "internal/notices", never: []string{"vmux/internal/agent/...", "vmux/internal/desktop", "vmux/internal/tray"},
		why: "what is told follows from two statuses, whoever tells it",
	},
	{
		from: "internal/pairpage", never: []string{"vmux/internal/agent/...", "vmux/internal/cli/...", "vmux/internal/tray", "fyne.io/systray/..."},
		why: "it shows an invitation that it is handed, and must not know who asked for it",
	},
	{
		from: "cmd/vmux", never: []string{"github.com/spf13/cobra/doc", "github.com/russross/blackfriday/...", "go.yaml.in/..."},
		why: "the agent would make a Markdown parser's tables at each start before it answers",
	},
	{
		from: "cmd/vmux-hub", never: []string{"vmux/internal/agent/...", "vmux/internal/signer/..."},
		why: "the hub provably does not handle keys",
	},
	{
		from: "internal/nativephone", never: []string{"vmux/internal/agent/...", "vmux/internal/cli/...", "vmux/internal/browserphone/...", "vmux/internal/hub/..."},
		why: "it owns the phone's state and does what commands ask for, and must not know which there are",
	},
	{
		from: "internal/nativephone/terminal", never: []string{"vmux/internal/nativephone/...", "vmux/internal/link/...", "vmux/internal/state", "vmux/internal/control"},
		except: []string{"vmux/internal/nativephone/terminal", "vmux/internal/nativephone/remember"},
		why:    "what is asked and which key answers does not depend on how a request came, or on who owns the phone",
	},
	{
		from: "internal/nativephone/remember", never: []string{"vmux/..."}, except: []string{"vmux/internal/nativephone/remember"},
		why: "it keeps secrets for a time, and must not know what they open",
	},
	{
		from: "internal/nativephone/asking", never: []string{"vmux/internal/link/...", "vmux/internal/state", "vmux/internal/control"},
		why: "where a person is asked does not depend on how a request came, or on who owns the phone",
	},
	{
		from: "internal/browserphone/...", never: []string{"vmux/...", "os/exec", "net/http/httptest"},
		except: []string{
			"vmux/internal/browserphone/...", "vmux/internal/signer/...", "vmux/internal/keyfile", "vmux/internal/webauthn", "vmux/internal/link/...", "vmux/internal/sshctx/...",
			"vmux/internal/device/...", "vmux/internal/wire/...", "vmux/internal/confusable",
		},
		why: "the phone in a browser is signer and link, and nothing of the computer or the hub",
	},
	{
		from: "internal/browserphone/sheets", never: []string{"vmux/internal/browserphone/...", "vmux/internal/link/..."}, except: []string{"vmux/internal/browserphone/sheets"},
		why: "what waits for the person does not depend on how it came, or on what the page can do besides",
	},
	{
		from: "internal/browserphone/newkey", never: []string{"vmux/internal/browserphone/...", "vmux/internal/link/..."}, except: []string{"vmux/internal/browserphone/newkey"},
		why: "what was not tried yet is kept apart from the keys that there are, and from what brings its answers",
	},
	{
		from: "internal/browserphone/pagestate", never: []string{"vmux/internal/browserphone/..."},
		except: []string{"vmux/internal/browserphone/pagestate", "vmux/internal/browserphone/secondway", "vmux/internal/browserphone/sheets"},
		why:    "what the page shows follows from the facts that it is given, and it must not look for more by itself",
	},
	{
		from: "internal/browserphone/away", never: []string{"vmux/..."}, except: []string{"vmux/internal/browserphone/away"},
		why: "whether somebody looks does not depend on what was granted",
	},
	{
		from: "internal/browserphone/passphrase", never: []string{"vmux/internal/browserphone/...", "vmux/internal/link/..."}, except: []string{"vmux/internal/browserphone/passphrase"},
		why: "what opens the vault is given a passphrase, and must not know what for",
	},
	{
		from: "cmd/vmux-phone-wasm",
		never: []string{
			"vmux/internal/agent/...", "vmux/internal/hub/...", "vmux/internal/cli/...", "vmux/internal/control/...",
			"github.com/nats-io/...", "github.com/spf13/cobra/...", "net/http/httptest", "os/exec",
		},
		why: "everybody who opens the web app downloads it, and a page can do none of this",
	},
}

// pure packages are given bytes, clocks, stores and approvers, so that they run
// on the computer, on a phone and in a page alike, and so that a test decides
// over everything they see. This holds for what they import themselves: the
// standard library's cryptography imports net and os all the same.
var purePackages = []string{
	"internal/wire", "internal/device", "internal/keyfile", "internal/signer", "internal/signer/activity", "internal/signer/admission", "internal/signer/documents",
	"internal/signer/hosts", "internal/signer/policy", "internal/signer/identity", "internal/signer/certificates", "internal/signer/backup",
	"internal/signer/authority", "internal/signer/transfer", "internal/sshctx", "internal/webauthn",
}

var impure = []string{
	"os/...", "io/ioutil", "path/filepath", // files, processes, terminals
	"net", "net/http/...", "net/rpc/...", "net/smtp", // sockets; net/url and net/netip are text
	"syscall/...", "plugin", "golang.org/x/sys/...", "golang.org/x/term/...", "github.com/google/renameio/...",
	"log", // writes to the process's standard error
}

// platforms are those that the code is built for. The imports of all of them
// count: a rule that holds on Linux alone is none.
var platforms = []string{"linux/amd64", "darwin/arm64", "windows/amd64", "js/wasm"}

func TestDependencies(t *testing.T) {
	for _, p := range packages(t) {
		for _, r := range dependencyRules {
			if !matches("vmux/"+r.from, p.ImportPath) {
				continue
			}
			for _, dependency := range p.Deps {
				if matchesAny(r.never, dependency) && !matchesAny(r.except, dependency) {
					t.Errorf("%s (%s) depends on %s, but %s", p.ImportPath, p.platform, dependency, r.why)
				}
			}
		}
	}
}

func TestPurePackages(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, "vmux/")
		if !slices.Contains(purePackages, name) {
			continue
		}
		for _, imported := range p.Imports {
			if matchesAny(impure, imported) {
				t.Errorf("%s (%s) imports %s, but it must know nothing of files, sockets and processes", name, p.platform, imported)
			}
		}
	}
}

// A name that says nothing collects everything.
func TestPackageNames(t *testing.T) {
	for _, p := range packages(t) {
		name := p.ImportPath[strings.LastIndex(p.ImportPath, "/")+1:]
		if slices.Contains([]string{"util", "utils", "common", "types", "helpers", "misc"}, name) {
			t.Errorf("package %s: name it after what it is", p.ImportPath)
		}
	}
}

// The rules above are worth what the matching is worth.
func TestMatches(t *testing.T) {
	for _, test := range []struct {
		pattern, path string
		want          bool
	}{
		{"os/...", "os", true},
		{"os/...", "os/exec", true},
		{"os/...", "osier", false},
		{"net", "net", true},
		{"net", "net/url", false},
		{"vmux/internal/link/...", "vmux/internal/link/lan", true},
		{"vmux/internal/link/...", "vmux/internal/linkage", false},
	} {
		if got := matches(test.pattern, test.path); got != test.want {
			t.Errorf("matches(%q, %q) = %v", test.pattern, test.path, got)
		}
	}
}

// listed is one package on one platform, as `go list` tells it.
type listed struct {
	ImportPath, Dir           string
	Name                      string
	GoFiles, IgnoredGoFiles   []string
	TestGoFiles, XTestGoFiles []string
	Imports, Deps             []string

	platform string
}

// packages lists the module's packages, once per platform.
func packages(t *testing.T) []listed {
	t.Helper()
	all, err := listPackages()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < len(platforms) {
		t.Fatalf("go list knows only of %d packages on %d platforms", len(all), len(platforms))
	}
	return all
}

var listPackages = sync.OnceValues(func() ([]listed, error) {
	var all []listed
	for _, platform := range platforms {
		goos, goarch, _ := strings.Cut(platform, "/")
		// -e: a package without files for this platform is no error.
		cmd := exec.Command("go", "list", "-e",
			"-json=ImportPath,Dir,Name,GoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles,Imports,Deps", "./...")
		cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, errors.New("go list: " + stderr.String())
		}
		for d := json.NewDecoder(bytes.NewReader(out)); ; {
			p := listed{platform: platform}
			if err := d.Decode(&p); err == io.EOF {
				break
			} else if err != nil {
				return nil, err
			}
			all = append(all, p)
		}
	}
	return all, nil
})

func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, path) })
}

// matches reports whether an import path is what a rule names.
func matches(pattern, path string) bool {
	if base, below := strings.CutSuffix(pattern, "/..."); below {
		return path == base || strings.HasPrefix(path, base+"/")
	}
	return path == pattern
}
