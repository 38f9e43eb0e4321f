package web

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"encoding/asn1"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"vmux/internal/sshctx"
	"vmux/internal/sshdtest"
	"vmux/test/browser"
)

// world is a phone in a browser, a computer and the hub between them.
type world struct {
	hub           *Hub
	browser       *Browser
	page          *Page
	authenticator *browser.Authenticator
	agent         *Agent
}

// newWorld is paired, and its phone has no keys yet.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{hub: StartHub(t), browser: NewBrowser(t)}
	w.page = w.browser.Open(w.hub.URL + "/")
	w.authenticator = w.page.Authenticator(browser.AuthenticatorOptions{})
	w.agent = StartAgent(t, w.hub.URL)
	w.agent.Pair(w.page)
	return w
}

// listed waits until the agent lists what the phone holds now, which it does by
// itself.
func (w *world) listed(t *testing.T) {
	t.Helper()
	var s State
	w.page.State(&s)
	waitFor(t, "the agent lists the phone's keys", func() bool {
		cmd := exec.Command(sshdtest.New(t).SSHAdd, "-L")
		cmd.Env = []string{"SSH_AUTH_SOCK=" + w.agent.Socket}
		out, _ := cmd.Output()
		for _, id := range s.Identities {
			if !strings.Contains(string(out), strings.Fields(id.PublicKey)[1]) {
				return false
			}
		}
		return true
	})
}

// finish runs a command that was started to its end.
func finish(cmd *exec.Cmd, meanwhile func()) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	meanwhile()
	err := cmd.Wait()
	return out.String(), err
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

func me(t testing.TB) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// A passkey logs in where the server insists on Face ID: from a client that
// knows passkeys' signatures, to any server.
func TestLoginByPasskey(t *testing.T) {
	w := newWorld(t)
	w.page.MustCall("createPasskey", map[string]string{"label": "face"}, nil)
	w.listed(t)
	line := w.page.Identity("face").AuthorizedKey
	if !strings.HasPrefix(line, "verify-required sk-ecdsa-sha2-nistp256@openssh.com ") {
		t.Fatalf("line %q", line)
	}
	client := sshdtest.New(t)
	for _, o := range sshdtest.Both(t) {
		server := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{line}})
		out, err := finish(server.Command(deadline(t), t, client, w.agent.Socket, "echo", "in"), w.page.ApproveNext)
		if err != nil || out != "in\n" {
			t.Errorf("to %s: %v\n%s\n%s\n%s", o.Version, err, out, server.Log(), w.agent.Log())
		}
	}
}

// The same key, when the assertion says that nobody was verified: the server
// refuses it, and lets it in only where the line does not insist.
func TestServerRefusesWithoutUserVerification(t *testing.T) {
	w := newWorld(t)
	w.page.MustCall("createPasskey", map[string]string{"label": "face"}, nil)
	id := w.page.Identity("face")
	careless := carelessAgent(t, w, id.PublicKey)
	client := sshdtest.New(t)
	for _, o := range sshdtest.Both(t) {
		strict := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{id.AuthorizedKey}})
		out, err := finish(strict.Command(deadline(t), t, client, careless, "echo", "in"), func() {})
		if err == nil || strings.Contains(out, "in\n") {
			t.Errorf("%s let in without user verification: %s", o.Version, out)
		}
		strict.WaitForLog(t, "user verification")
		lax := o.StartServer(t, sshdtest.Config{AuthorizedKeys: []string{id.PublicKey}})
		out, err = finish(lax.Command(deadline(t), t, client, careless, "echo", "in"), func() {})
		if err != nil || out != "in\n" {
			t.Errorf("%s without verify-required: %v\n%s\n%s", o.Version, err, out, lax.Log())
		}
	}
}

// carelessAgent is an SSH agent that asks the passkey without insisting on user
// verification, which vmux never does.
func carelessAgent(t *testing.T, w *world, line string) string {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "vw")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.Close()
		_ = os.RemoveAll(dir)
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = agent.ServeAgent(&careless{Agent: agent.NewKeyring(), key: key, world: w}, c)
			}()
		}
	}()
	return l.Addr().String()
}

type careless struct {
	agent.Agent
	key   ssh.PublicKey
	world *world
}

func (c *careless) List() ([]*agent.Key, error) {
	return []*agent.Key{{Format: c.key.Type(), Blob: c.key.Marshal(), Comment: "careless"}}, nil
}

func (c *careless) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return c.SignWithFlags(key, data, 0)
}

func (c *careless) Extension(string, []byte) ([]byte, error) {
	return nil, agent.ErrExtensionUnsupported
}

func (c *careless) SignWithFlags(_ ssh.PublicKey, data []byte, _ agent.SignatureFlags) (*ssh.Signature, error) {
	var got struct{ Auth, Client, Signature []byte }
	id := c.world.authenticator.Credentials()[0].CredentialID
	err := c.world.page.Run(fmt.Sprintf(`
		const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
		const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));
		const { response } = await navigator.credentials.get({ publicKey: {
			challenge: bytes(%q), rpId: location.hostname, userVerification: 'discouraged',
			allowCredentials: [{ type: 'public-key', id: bytes(%q) }],
		} });
		return { Auth: text(response.authenticatorData), Client: text(response.clientDataJSON), Signature: text(response.signature) };`,
		base64.StdEncoding.EncodeToString(data), base64.StdEncoding.EncodeToString(id)), &got)
	if err != nil {
		return nil, err
	}
	if got.Auth[32]&sshctx.FlagUserVerified != 0 {
		return nil, errors.New("the authenticator verified the user all the same")
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(got.Signature, &rs); err != nil {
		return nil, err
	}
	signature := &ssh.Signature{Format: sshctx.FormatWebAuthn, Blob: ssh.Marshal(rs), Rest: ssh.Marshal(sshctx.WebAuthn{
		Flags: got.Auth[32], Counter: binary.BigEndian.Uint32(got.Auth[33:]),
		Origin: c.world.hub.URL, ClientData: string(got.Client),
	})}
	return signature, sshctx.VerifySignature(c.key, data, signature)
}

// Vault keys of each algorithm log in from both clients.
func TestLoginByVault(t *testing.T) {
	w := newWorld(t)
	servers := sshdtest.Both(t)
	for _, algorithm := range []string{"ecdsa-sha2-nistp256", "ssh-ed25519", "ssh-rsa"} {
		w.page.MustCall("createVault", map[string]string{"label": algorithm, "algorithm": algorithm}, nil)
		w.listed(t)
		line := w.page.Identity(algorithm).AuthorizedKey
		for i, client := range servers {
			server := servers[1-i].StartServer(t, sshdtest.Config{AuthorizedKeys: []string{line}, MaxAuthTries: 20})
			out, err := finish(server.Command(deadline(t), t, client, w.agent.Socket, "echo", "in"), w.page.ApproveNext)
			if err != nil || out != "in\n" {
				t.Errorf("%s from %s: %v\n%s\n%s", algorithm, client.Version, err, out, server.Log())
			}
		}
	}
}

// An OpenSSH key file keeps its public key when it goes into the vault.
func TestImportIntoVault(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "id")
	keygen := exec.Command(sshdtest.Old(t).SSHKeygen, "-q", "-t", "ed25519", "-N", "a passphrase", "-f", file)
	if out, err := keygen.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	private, _ := os.ReadFile(file)
	public, _ := os.ReadFile(file + ".pub")
	args := map[string]string{"label": "old key", "file": string(private)}
	w.page.WantFailure("encrypted", "importVault", args)
	args["passphrase"] = "wrong"
	w.page.WantFailure("wrongPassphrase", "importVault", args)
	args["passphrase"] = "a passphrase"
	w.page.MustCall("importVault", args, nil)
	w.listed(t)
	server := sshdtest.Old(t).StartServer(t, sshdtest.Config{AuthorizedKeys: []string{string(public)}})
	out, err := finish(server.Command(deadline(t), t, sshdtest.Old(t), w.agent.Socket, "echo", "in"), w.page.ApproveNext)
	if err != nil || out != "in\n" {
		t.Errorf("%v\n%s\n%s", err, out, server.Log())
	}
	w.page.WantFailure("exists", "importVault", map[string]string{"label": "again", "file": string(private), "passphrase": "a passphrase"})
	w.page.WantFailure("notImported", "importVault", map[string]string{"label": "junk", "file": "junk"})
}

// A session certificate of either kind of CA lets in without the phone.
func TestLoginByCertificate(t *testing.T) {
	for _, kind := range []string{"vault", "passkey"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			w.page.MustCall("createVault", map[string]string{"label": "key", "algorithm": "ssh-ed25519"}, nil)
			w.page.MustCall("createCA", map[string]any{"kind": kind, "principals": []string{me(t), "deploy"}}, nil)
			accepted := w.agent.AcceptCA()
			request := w.agent.Vmux(deadline(t), "cert", "request")
			out, err := finish(request, func() {
				sheet := w.page.Sheet()
				if sheet.Kind != "certificate" || !sheet.Ready || sheet.KeyKind != kind || len(sheet.Choices) != 2 || sheet.ValiditySeconds != 8*3600 {
					t.Errorf("sheet %+v", sheet)
				}
				if err := w.page.Approve(sheet, map[string]any{"validitySeconds": 600, "principals": []string{me(t)}}); err != nil {
					t.Errorf("approve: %v\n%s", err, w.page.Console())
				}
			})
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, w.agent.Log())
			}
			var s State
			w.page.State(&s)
			if s.CA == nil || s.CA.Fingerprint != accepted {
				t.Errorf("the phone's CA is %+v, the computer accepted %s", s.CA, accepted)
			}
			if len(s.Certificates) != 1 || s.Certificates[0].ValidBefore-s.Certificates[0].IssuedAt > 601_000 || len(s.Certificates[0].Principals) != 1 {
				t.Errorf("certificates %+v", s.Certificates)
			}
			for _, o := range sshdtest.Both(t) {
				config := sshdtest.Config{TrustedUserCAKeys: []string{s.CA.Line}}
				if kind == "passkey" && !o.AtLeast(10, 3) {
					config.Extra = []string{"CASignatureAlgorithms +" + sshctx.FormatWebAuthn}
				}
				server := o.StartServer(t, config)
				out, err := finish(server.Command(deadline(t), t, o, w.agent.Socket, "echo", "in"), func() {})
				if err != nil || out != "in\n" {
					t.Errorf("%s: %v\n%s\n%s", o.Version, err, out, server.Log())
				}
			}
		})
	}
}

// git and others sign by `ssh-keygen -Y`.
func TestSSHSIGByPasskey(t *testing.T) {
	w := newWorld(t)
	w.page.MustCall("createPasskey", map[string]string{"label": "face"}, nil)
	w.listed(t)
	dir := t.TempDir()
	key, message, allowed := filepath.Join(dir, "key.pub"), filepath.Join(dir, "message"), filepath.Join(dir, "allowed")
	public := w.page.Identity("face").PublicKey
	for path, text := range map[string]string{key: public + "\n", message: "a message\n", allowed: "me " + public + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := sshdtest.New(t)
	sign := exec.CommandContext(deadline(t), o.SSHKeygen, "-Y", "sign", "-n", "file", "-f", key, message)
	sign.Env = []string{"SSH_AUTH_SOCK=" + w.agent.Socket, "PATH=" + os.Getenv("PATH")}
	out, err := finish(sign, func() {
		sheet := w.page.Sheet()
		if sheet.Title.String() != "file signature" || sheet.Quality != "verified" {
			b, _ := json.Marshal(sheet)
			t.Errorf("sheet %s", b)
		}
		if err := w.page.Approve(sheet, nil); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, w.agent.Log())
	}
	verify := exec.Command(o.SSHKeygen, "-Y", "verify", "-n", "file", "-f", allowed, "-I", "me", "-s", message+".sig")
	verify.Stdin = strings.NewReader("a message\n")
	if out, err := verify.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
