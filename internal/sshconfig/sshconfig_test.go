package sshconfig

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/sshdtest"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// config is read by ssh itself as well.
const config = `# IdentityFile ~/never
Host prod *.example !no.example
	HostName real.example
	Port = 2222
	IdentityFile "~/with space" # a comment
	IdentityFile=~/c#x
Host alias
  HostKeyAlias known-as.example
  HostName %h.example
  UserKnownHostsFile ~/hosts "/tmp/more hosts"
Host crlf` + "\r\n  Port 2200\r\n" + `
Match originalhost orig,other host real-*
  HostName inner
Host orig
  HostName real-orig
Match originalhost orig,other host real-*
  Port 2201
Match user deploy
  HostKeyAlias for-deploy
Match !user deploy originalhost pinned
  HostKeyAlias not-for-deploy
Match localuser nobody-at-all
  HostName never
Match final host lastly.example
  HostKeyAlias at-last
Host lastly
  HostName LASTLY.example
Match originalhost LOUD
  HostKeyAlias Known.AS
Host service
  Port https
Host zeros
  Port 0022
Host *
Include INCLUDED/*.conf INCLUDED/[!1-9].txt
Host included
  Port 1
Host six
  HostName 2001:db8::1
  Port 22
Host *
  IdentityFile ~/d\ e
  GlobalKnownHostsFile /dev/null
`

// canonical is read twice though it has no Match final.
const canonical = `Host whole
  IdentityFile ~/own
  CanonicalizeHostname yes
  HostName whole.example
Host whole.example
  HostKeyAlias is-whole
Match canonical originalhost whole
  CertificateFile ~/of-whole
`

// What is read is what ssh reads, of both versions.
func TestReadAsSSHDoes(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "inc", "1.conf"), "Host included\n Port 2203\n HostName i.example\n")
	write(t, filepath.Join(dir, "inc", "2.conf"), "Host included\n Port 2204\n CertificateFile ~/x-cert.pub\n")
	write(t, filepath.Join(dir, "inc", ".2.conf.swp"), "Host included\n IdentityFile ~/swap\n")
	write(t, filepath.Join(dir, "inc", ".0.conf"), "Host included\n Port 2202\n")
	write(t, filepath.Join(dir, "inc", "1.txt"), "Host range\n Port 2205\n")
	write(t, filepath.Join(dir, "inc", "a.txt"), "Host range\n Port 2206\n")
	file := write(t, filepath.Join(dir, "config"), strings.ReplaceAll(config, "INCLUDED", filepath.Join(dir, "inc")))
	second := write(t, filepath.Join(dir, "canonical"), canonical)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range sshdtest.Both(t) {
		for _, line := range []string{
			"prod", "PROD", "a.example", "no.example", "alias", "crlf", "orig", "other", "deploy@any", "-l deploy any", "pinned",
			"deploy@pinned", "lastly", "included", "six", "loud", "service", "zeros", "range", "-p ssh any", "ssh://deploy@prod:2299", "-p 2298 prod",
			"-oPort=2297 -o HostName=x.example any", "any -p 2296", "-4Ap 2295 any", "-o", "-- prod", "-J bastion prod",
			"-W [inner.example]:22 -p 23 bastion.example", "-i /etc/hosts -i /etc/passwd any", "-oHostKeyAlias=k any", "-o UserKnownHostsFile=/x prod",
			"-oUserKnownHostsFile=/x -oUserKnownHostsFile=/y any", "me@corp@prod", "::1", "whole",
		} {
			args := append([]string{"-F", map[bool]string{false: file, true: second}[line == "whole"]}, strings.Fields(line)...)
			out, err := exec.CommandContext(t.Context(), o.SSH, append([]string{"-G"}, args...)...).Output()
			if line == "-o" { // ssh refuses it
				Read(Client{Args: append([]string{"ssh"}, args...)})
				continue
			}
			if err != nil {
				t.Errorf("%s %q: %v", o.Name, line, err)
				continue
			}
			single, files := map[string]string{}, []string(nil)
			for l := range strings.Lines(string(out)) {
				keyword, value, _ := strings.Cut(strings.TrimSpace(l), " ")
				single[keyword] = value
				if keyword == "identityfile" || keyword == "certificatefile" {
					files = append(files, value)
				}
			}
			c := Client{Args: append([]string{"ssh"}, args...), Home: me.HomeDir, User: me.Username, UID: me.Uid, Dir: dir}
			login := Read(c)
			want := withPort(single["hostname"], single["port"])
			if alias := single["hostkeyalias"]; alias != "" && alias != "none" {
				want = alias
			}
			if len(login.Names) == 0 || login.Names[0] != want {
				t.Errorf("%s %q: names %q, want %q first", o.Name, line, login.Names, want)
			}
			hosts := strings.TrimPrefix(strings.Join(login.KnownHosts, " ")+" ", single["userknownhostsfile"]+" ")
			if hosts != single["globalknownhostsfile"]+" " {
				t.Errorf("%s %q: known hosts %q, want %q and %q", o.Name, line, login.KnownHosts, single["userknownhostsfile"], single["globalknownhostsfile"])
			}
			r := &reader{Client: c, single: map[string]*option{}}
			r.arguments(c.Args)
			r.passes()
			slices.Sort(files)
			slices.Sort(r.identities)
			if !slices.Equal(files, r.identities) {
				t.Errorf("%s %q: keys %q, want %q", o.Name, line, r.identities, files)
			}
		}
	}
}

// What only ssh can tell may hold, and nothing is executed to find out.
func TestReadWhatOnlySSHKnows(t *testing.T) {
	home := t.TempDir()
	ran := filepath.Join(home, "ran")
	write(t, filepath.Join(home, ".ssh", "config"), `
Match originalhost office exec "touch `+ran+`"
  HostName inner.example
  Port 2200
Host office
  HostName outer.example
Host short
  CanonicalizeHostname yes
  CanonicalDomains one.example two.example
Host deep.two.example
  HostName d.example
Host command
  KnownHostsCommand /bin/touch `+ran+`
`)
	for args, want := range map[string][]string{
		"ssh office":  {"[inner.example]:2200", "[outer.example]:2200", "inner.example", "outer.example"},
		"ssh short":   {"short.one.example", "short.two.example", "short"},
		"ssh command": {"command"},
	} {
		login := Read(Client{Args: strings.Fields(args), Home: home})
		for _, name := range want {
			if !slices.Contains(login.Names, name) {
				t.Errorf("%s: names %q lack %s", args, login.Names, name)
			}
		}
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a command of the configuration was run")
	}
}

func TestTyped(t *testing.T) {
	for args, want := range map[string]string{
		"ssh -v root@prod uptime":                       "prod",
		"ssh -p 2222 prod":                              "[prod]:2222",
		"/opt/bin/ssh -oPort=22 prod":                   "prod",
		"ssh ssh://root@[2001:db8::1]:2222":             "[2001:db8::1]:2222",
		"ssh -o SendEnv=GIT_PROTOCOL git@git.example x": "git.example",
		"ssh -W [prod]:22 bastion":                      "bastion",
		"ssh -l root -- prod rsync --server -p":         "prod",
		"plink -P 22 prod":                              "",
		"ssh":                                           "",
		"":                                              "",
	} {
		if got := Typed(strings.Fields(args)); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	home := t.TempDir()
	names := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d", "x-prod", "certified", ".ssh/id_ed25519"} {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.NewPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		names[string(key.Marshal())] = name
		if name == "certified" {
			signer, err := ssh.NewSignerFromKey(private)
			if err != nil {
				t.Fatal(err)
			}
			cert := &ssh.Certificate{Key: key, CertType: ssh.UserCert}
			if err := cert.SignCert(rand.Reader, signer); err != nil {
				t.Fatal(err)
			}
			key = cert
		}
		write(t, filepath.Join(home, name+".pub"), string(ssh.MarshalAuthorizedKey(key)))
	}
	write(t, filepath.Join(home, "a"), "-----BEGIN OPENSSH PRIVATE KEY-----\n")
	write(t, filepath.Join(home, "lonely"), "-----BEGIN OPENSSH PRIVATE KEY-----\n")
	fifo := filepath.Join(home, "fifo")
	if out, err := exec.CommandContext(context.Background(), "mkfifo", fifo).CombinedOutput(); err != nil {
		t.Fatalf("mkfifo: %v: %s", err, out)
	}
	write(t, filepath.Join(home, ".ssh", "config"), `
Host prod
  IdentityFile ~/x-%n
Host env
  IdentityFile ${KEYS}/c
Host certificate
  CertificateFile ~/certified.pub
Host hash
  IdentityFile ~/x-%C
Host fifo
  Include `+fifo+`
Match exec "true" originalhost either
  IdentityFile "%d/d.pub"
`)
	for line, want := range map[string]string{
		"ssh prod":                            "x-prod",
		"ssh env":                             "c",
		"ssh certificate":                     ".ssh/id_ed25519 certified",
		"ssh either":                          ".ssh/id_ed25519 d",
		"ssh unknown":                         ".ssh/id_ed25519",
		"ssh hash":                            "unclear unnamed",
		"ssh fifo":                            ".ssh/id_ed25519 unclear unnamed",
		"ssh -F " + fifo + " -i ~/a unknown":  "a unclear unnamed",
		"ssh -F none -i ~/lonely unknown":     "unclear",
		"ssh -F none -i " + fifo + " unknown": "unclear unnamed",
		"ssh -F none -i /dev/zero unknown":    "unclear unnamed",
		"ssh -i b unknown":                    ".ssh/id_ed25519 b",
		"ssh -4Aoidentityfile=~/a unknown":    "a",
		"ssh -i none unknown":                 "",
		"ssh -i ~/gone unknown":               ".ssh/id_ed25519",
		"ssh unknown sed -i ~/a":              ".ssh/id_ed25519",
	} {
		login := Read(Client{Args: strings.Fields(line), Home: home, Dir: home, Env: []string{"KEYS=" + home}})
		var got []string
		for blob := range login.Keys {
			if name := names[blob]; name != "" {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if login.Unclear {
			got = append(got, "unclear")
		}
		if login.Unnamed {
			got = append(got, "unnamed")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// Whom a login is for: one account, or all that it may be.
func TestAccount(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "Host git\nUser git\nMatch exec false host maybe\nUser one\n"
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"ssh host": "me", "ssh root@host": "root", "ssh -l root host": "root", "ssh -oUser=root host": "root",
		"ssh ssh://root@host:22": "root", "ssh git": "git", "ssh root@git": "root", "ssh maybe": "one me",
	} {
		if got := Read(Client{Args: strings.Fields(args), Home: home, User: "me"}).Account; got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}

// Whether ssh is sure to offer a server no key of the agent's that is not named.
func TestNamedOnly(t *testing.T) {
	home := t.TempDir()
	write(t, filepath.Join(home, ".ssh", "config"), `
Host strict
  IdentitiesOnly yes
Host password
  PreferredAuthentications keyboard-interactive,password
Host off
  PubkeyAuthentication no
Match exec true originalhost perhaps
  IdentitiesOnly yes
Host both
  PreferredAuthentications publickey,password
`)
	for args, want := range map[string]bool{
		"ssh plain": false, "ssh both": false, "ssh perhaps": false, "ssh -oIdentitiesOnly=no strict": false,
		"ssh strict": true, "ssh password": true, "ssh off": true, "ssh -o IdentitiesOnly=yes plain": true,
		"ssh -o PreferredAuthentications=, plain": true, // as ssh-copy-id does
	} {
		if got := Read(Client{Args: strings.Fields(args), Home: home}).NamedOnly; got != want {
			t.Errorf("%s: %v", args, got)
		}
	}
}

// Some have a file for each host. An Include of itself ends.
func TestManyFiles(t *testing.T) {
	home := t.TempDir()
	for i := range 200 {
		name := fmt.Sprintf("h%03d", i)
		write(t, filepath.Join(home, ".ssh", "hosts", name), "Host "+name+"\n  HostKeyAlias "+name+".example\n")
	}
	write(t, filepath.Join(home, ".ssh", "config"), "Include hosts/*\nMatch final originalhost none\n")
	login := Read(Client{Args: []string{"ssh", "h199"}, Home: home})
	if login.Unclear || len(login.Names) == 0 || login.Names[0] != "h199.example" {
		t.Errorf("names %q, unclear %v", login.Names, login.Unclear)
	}
	write(t, filepath.Join(home, ".ssh", "config"), "Include config config\nHost *\n")
	if login := Read(Client{Args: []string{"ssh", "h199"}, Home: home}); !login.Unclear {
		t.Error("an endless configuration is read to its end")
	}
}
