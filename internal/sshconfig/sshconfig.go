// Package sshconfig reads what an SSH client is told on its command line and in
// ssh's configuration: by which names it looks for the server's key, in which
// files, and which keys the user has named. It is no ssh -G, which would run what
// `Match exec` says: whoever reaches the agent's socket from a container or a
// sandbox chooses the arguments and could name a file of their own by -F, so that
// the agent would run their commands outside. Nothing is executed here. What only
// ssh can tell counts as possible, and all that follows from it is told.
package sshconfig

import (
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Client is a process that runs ssh.
type Client struct {
	Args      []string // with the program's name
	Dir       string   // working directory; "" if it is not known
	Env       []string // NAME=value
	Home      string   // the user's, as the system's user database has it
	User, UID string
}

// Login is what a client is about to do.
type Login struct {
	// Typed is the server as it stands on the command line, with the port if that
	// stands there too: `host` or `[host]:port`. "" if the program is not ssh.
	Typed string
	// Account is the user's on the server; several where only ssh can tell, by blanks.
	Account string
	// Names are those that the server's key may have in known_hosts, most likely
	// first.
	Names []string
	// KnownHosts are the files that the key is looked for in.
	KnownHosts []string
	// Keys are blobs of the keys that the user has named by -i, IdentityFile or
	// CertificateFile: ssh takes those from the agent only if they are listed.
	Keys map[string]bool
	// Unclear: keys are named in a way that only ssh can make out.
	Unclear bool
	// Unnamed: it is unclear for another reason than that the public half of a key
	// file is missing, so that it may be any key of the agent's.
	Unnamed bool
	// NamedOnly: ssh offers the server none of the listed keys but those that are
	// named, if any: IdentitiesOnly, or a login by other means than keys.
	NamedOnly bool
}

const (
	// maxFiles and maxText bound how many files of ssh's configuration are read for a
	// login, and how many bytes: some have a file for each host, and all are read again
	// for Match final and for each name that CanonicalizeHostname may find. maxNames
	// bounds how many names one is looked for by.
	maxFiles = 4096
	maxText  = 64 << 20
	maxNames = 64
	// maxDepth is how deep Include goes (readconf.c, READCONF_MAX_DEPTH).
	maxDepth = 16
	// systemFolder is where ssh's own configuration stands.
	systemFolder = "/etc/ssh"
	defaultPort  = "22"
)

// Read follows the command line and the files that it leads to. It reads files and
// may take as long as they do.
func Read(c Client) Login {
	r := &reader{Client: c, single: map[string]*option{}, files: []configFile{
		{filepath.Join(c.Home, ".ssh", "config"), filepath.Join(c.Home, ".ssh")},
		{filepath.Join(systemFolder, "ssh_config"), systemFolder},
	}}
	r.arguments(c.Args)
	r.passes()
	login := Login{Typed: r.typedName(), Names: r.names(), Account: strings.Join(r.possible("user", r.User), " ")}
	login.KnownHosts = r.knownHosts()
	login.Keys, login.Unclear, login.Unnamed = r.keys()
	login.NamedOnly = r.namedOnly()
	return login
}

// namedOnly is Login.NamedOnly, where that is sure.
func (r *reader) namedOnly() bool {
	all := func(keyword, otherwise string, is func(value string) bool) bool {
		return !slices.ContainsFunc(r.possible(keyword, otherwise), func(v string) bool { return !is(strings.ToLower(v)) })
	}
	return all("identitiesonly", "no", func(v string) bool { return v == "yes" || v == "true" }) ||
		all("pubkeyauthentication", "yes", func(v string) bool { return v == "no" || v == "false" }) ||
		all("preferredauthentications", "publickey", func(v string) bool { return !slices.Contains(strings.Split(v, ","), "publickey") })
}

// Typed is Login.Typed, by the command line alone.
func Typed(args []string) string {
	r := &reader{Client: Client{Args: args}, single: map[string]*option{}}
	r.arguments(args)
	return r.typedName()
}

// truth says whether a part of the configuration applies.
type truth int

const (
	no truth = iota
	maybe
	yes
)

// option is a setting of which ssh takes the first value. Values that may apply are
// kept, up to one that does.
type option struct {
	values [][]string
	sure   bool
}

type configFile struct{ path, includes string } // relative Includes stand in includes

// reader is one reading.
type reader struct {
	Client
	files []configFile
	read  int // how many files
	text  int // and bytes

	typed, typedPort string
	host             string // what Host compares with
	final, wantFinal bool

	single     map[string]*option
	identities []string // IdentityFile, CertificateFile
	anyNamed   bool     // IdentityFile is given
	unclear    bool
}

// passes reads the configuration, and once more where ssh does: for `Match final`,
// or when it is told to make the host's name canonical.
func (r *reader) passes() {
	r.host = r.typed
	r.pass(yes)
	again := truthOf(r.wantFinal)
	for _, value := range r.possible("canonicalizehostname", "no") {
		if canonicalizes(value) {
			again = max(again, maybe)
		}
	}
	if o := r.single["canonicalizehostname"]; again == maybe && o.sure && len(o.values) == 1 {
		again = yes
	}
	if again == no {
		return
	}
	canonical, hosts := r.canonicalNames(), r.hostNames()
	r.final = true
	if len(hosts) > 1 || len(canonical) > 0 {
		again = maybe
	}
	r.set("hostname", []string{strings.ReplaceAll(r.typed, "%", "%%")}, yes) // it stays, whatever is read now
	for _, host := range append(hosts, canonical...) {
		r.host = host
		r.pass(again)
	}
}

// canonicalizes reports whether a value of CanonicalizeHostname switches it on.
func canonicalizes(value string) bool {
	value = strings.ToLower(value)
	return value == "yes" || value == "true" || value == "always"
}

func (r *reader) pass(applies truth) {
	for _, f := range r.files {
		r.file(f.path, f.includes, applies, 0)
	}
}

// set notes a value of a setting of which ssh takes the first.
func (r *reader) set(keyword string, values []string, applies truth) {
	o := r.single[keyword]
	if o == nil {
		o = &option{}
		r.single[keyword] = o
	}
	if o.sure || len(values) == 0 {
		return
	}
	if keyword == "port" {
		values = []string{portOf(values[0])}
	}
	o.values = append(o.values, values)
	o.sure = applies == yes
}

// possible are the values that a setting of one word may have, and the last of them
// otherwise where it may be unset.
func (r *reader) possible(keyword, otherwise string) []string {
	var list []string
	o := r.single[keyword]
	if o != nil {
		for _, v := range o.values {
			list = add(list, v[0])
		}
	}
	if (o == nil || !o.sure) && otherwise != "" {
		list = add(list, otherwise)
	}
	return list
}

// add appends a word once.
func add(list []string, word string) []string {
	if slices.Contains(list, word) || len(list) >= maxNames {
		return list
	}
	return append(list, word)
}

// hostNames are what ssh may connect to.
func (r *reader) hostNames() []string {
	var list []string
	tokens := strings.NewReplacer("%%", "%", "%h", r.typed)
	for _, name := range r.possible("hostname", r.typed) {
		list = add(list, strings.ToLower(tokens.Replace(name)))
	}
	return list
}

// canonicalNames are what CanonicalizeHostname may make of the host.
func (r *reader) canonicalNames() []string {
	var list []string
	for _, value := range r.possible("canonicalizehostname", "no") {
		if !canonicalizes(value) || r.single["canonicaldomains"] == nil {
			continue
		}
		for _, domains := range r.single["canonicaldomains"].values {
			for _, d := range domains {
				for _, host := range r.hostNames() {
					list = add(list, host+"."+strings.ToLower(d))
				}
			}
		}
	}
	return list
}

// names are the server's in known_hosts: HostKeyAlias, else the host with its port
// unless that is 22. ssh also looks for a host without its port.
func (r *reader) names() []string {
	if r.typed == "" {
		return nil
	}
	var list []string
	for _, alias := range r.possible("hostkeyalias", "") {
		list = add(list, strings.ToLower(alias))
	}
	hosts := append(r.canonicalNames(), r.hostNames()...)
	for _, host := range append(hosts, strings.ToLower(r.typed)) {
		for _, port := range r.possible("port", defaultPort) {
			list = add(list, withPort(host, port))
		}
		list = add(list, host)
	}
	return list
}

// portOf is the number of a port, which may be a service's name.
func portOf(port string) string {
	if n, err := net.LookupPort("tcp", port); err == nil {
		return strconv.Itoa(n)
	}
	return port
}

func withPort(host, port string) string {
	if port == "" || port == defaultPort {
		return host
	}
	return "[" + host + "]:" + port
}

// typedName is the destination as a person reads it.
func (r *reader) typedName() string {
	if len(r.Args) == 0 || r.typed == "" || !strings.Contains(filepath.Base(r.Args[0]), "ssh") {
		return ""
	}
	return withPort(r.typed, r.typedPort)
}

// knownHosts are the files that ssh looks in: the user's, then the system's.
func (r *reader) knownHosts() []string {
	var list []string
	for _, o := range []struct {
		keyword, folder string
		names           []string
	}{
		{"userknownhostsfile", filepath.Join(r.Home, ".ssh"), []string{"known_hosts", "known_hosts2"}},
		{"globalknownhostsfile", systemFolder, []string{"ssh_known_hosts", "ssh_known_hosts2"}},
	} {
		set := r.single[o.keyword]
		if set != nil {
			for _, files := range set.values {
				for _, file := range files {
					if path, ok := r.path(file); ok {
						list = add(list, path)
					}
				}
			}
		}
		if set == nil || !set.sure {
			for _, name := range o.names {
				list = add(list, filepath.Join(o.folder, name))
			}
		}
	}
	return list
}
