package demo

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"vmux/internal/control"
	"vmux/internal/desktop"
	"vmux/internal/device"
	"vmux/internal/serveraccess"
	"vmux/internal/sshd"
	"vmux/internal/wire"
)

// The demonstration with the web app as the phone: in a browser on this computer
// (--web), or on a real phone (--phone).

// pagePatience bounds how long a person may take for a step on the page.
const pagePatience = 10 * time.Minute

// Where a hub with a CA of its own offers it to phones.
const (
	installPage = "/install-ca"
	rootFile    = "/ca.cer"
)

func (d *demo) pageSteps() []step {
	steps := []step{
		{"The computer starts an agent, which holds no key, and a hub beside it", d.startAgentAndHub},
		{"The page is opened and paired, by an invitation in its address", d.pairPage},
		{"The phone makes an SSH key and a certificate authority of its own", d.awaitKeys},
		{"SSH clients see the phone's key through the agent", d.list},
		{"A server is told of the key and of the CA", d.startServer},
		{"Log in by the phone-held key: press Approve on the page", d.loginByKey},
		{"Get a session certificate: press Approve once more", d.requestCertificate},
		{"Log in by the certificate, as often as you like: nobody is asked", d.loginByCertificate},
	}
	if d.Handset {
		steps = slices.Insert(steps, 1, step{"The phone is to believe this computer's hub", d.installCA})
	}
	return steps
}

func (d *demo) startAgentAndHub(ctx context.Context) error {
	port, err := sshd.FreePort()
	if err != nil {
		return err
	}
	line := []string{"agent", "--lan=false", "--approval-timeout", "100s", "--hub", "local"}
	if d.Handset {
		plain, err := sshd.FreePort()
		if err != nil {
			return err
		}
		d.hub = "https://" + net.JoinHostPort(d.Name, strconv.Itoa(port))
		// Without HTTPS: the CA is what that needs.
		d.install = "http://" + net.JoinHostPort(d.Name, strconv.Itoa(plain)) + installPage
		line = append(line, "--hub-local-ca", "--hub-listen", ":"+strconv.Itoa(port), "--hub-url", d.hub, "--hub-listen-http", ":"+strconv.Itoa(plain))
	} else {
		d.hub = "http://" + d.HubHost + ":" + strconv.Itoa(port)
		line = append(line, "--hub-listen", "127.0.0.1:"+strconv.Itoa(port))
	}
	if d.agent, err = d.background("computer", "vmux agent", line); err != nil {
		return err
	}
	err = d.agent.Wait(ctx, "its hub", func() bool {
		s, err := d.status(ctx)
		return err == nil && s.Hub != nil && s.Hub.Connected
	})
	return errors.Join(err, d.line("   the phone's page: %s", d.hub))
}

// installCA leads through what a phone needs to open the page at all.
func (d *demo) installCA(ctx context.Context) error {
	fingerprint, err := d.rootFingerprint(ctx)
	if err != nil {
		return err
	}
	d.Aside(d.QRCode(d.install))
	err = d.Text("   Scan this code with the phone's camera, or open " + d.install + " there,\n" +
		"   and follow that page: it installs a certificate for this computer's name alone.\n" +
		"   Compare its SHA-256 fingerprint:\n" +
		"   " + fingerprint[:47] + "\n   " + fingerprint[48:] + "\n" +
		"   The phone has to be in this network. If it does not find " + d.Name + ", this\n" +
		"   computer does not tell its name: install avahi-daemon, or use --name.\n")
	if err != nil || d.Yes || !d.attended() {
		return err
	}
	d.Aside("   Press Enter when that is done: ")
	return d.enter(ctx)
}

// rootFingerprint is that of the hub's own CA, as phones show it. It is asked for
// on this computer, where nobody else can answer.
func (d *demo) rootFingerprint(ctx context.Context) (string, error) {
	u, err := url.Parse(d.install)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+u.Port()+rootFile, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("ask the hub for its certificate: %w", err)
	}
	defer answer.Body.Close()
	root, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	if err != nil {
		return "", fmt.Errorf("ask the hub for its certificate: %w", err)
	}
	return fmt.Sprintf("% X", sha256.Sum256(root)), nil
}

// enter waits for the Enter key.
func (d *demo) enter(ctx context.Context) error {
	pressed := make(chan struct{})
	go func() { // ends with the process, at the latest: a terminal cannot be asked to stop reading
		_, _ = bufio.NewReader(d.In).ReadString('\n')
		close(pressed)
	}()
	select {
	case <-pressed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pairPage shows the invitation and waits until the page has used it.
func (d *demo) pairPage(ctx context.Context) error {
	answer, err := d.invite(ctx)
	if err != nil {
		return err
	}
	if err := d.showInvitation(answer.Invitation); err != nil {
		return err
	}
	if err := d.line("   The page shows this computer's device ID: %s", device.InFours(wire.Show(answer.DeviceID))); err != nil {
		return err
	}
	return d.person(ctx, device.InvitationLife, "the page to be paired", func() bool {
		s, err := d.status(ctx)
		return err == nil && s.Connected
	})
}

func (d *demo) showInvitation(invitation string) error {
	if d.Handset {
		d.Aside(d.QRCode(invitation))
		return d.Text("   Scan this code with the phone's camera; on an iPhone, open " + d.hub + "\n" +
			"   first, add it to the Home Screen, and scan inside that app. Then press Pair. Or open:\n   " + invitation + "\n")
	}
	how := "Open this in a browser on this computer, and press Pair:"
	if !d.Yes && d.attended() && desktop.Open(invitation) == nil {
		how = "A browser opens this page (if none does, open it yourself); press Pair there:"
	}
	return d.Text("   " + how + "\n   " + invitation + "\n")
}

// awaitKeys waits for what is made on the page.
func (d *demo) awaitKeys(ctx context.Context) error {
	old := d.oldOpenSSH(ctx)
	text := "   On the page: Identities, \"Create a key\". A vault key works with every SSH client,\n" +
		"   and so does a passphrase key, for a browser that has no passkeys; a passkey needs\n" +
		"   OpenSSH 10.3 or newer"
	if old != "" {
		text += ", which this computer (" + old + ") does not have"
	}
	text += ".\n   Then: CA, \"Create a CA\", for the account " + d.user() + ", which is yours here.\n"
	if err := d.Text(text); err != nil {
		return err
	}
	hint := sync.OnceFunc(func() { d.Say("a passkey cannot be used with %s: create a vault key or a passphrase key as well", old) })
	var failed error
	err := d.person(ctx, pagePatience, "a key and a CA", func() bool {
		// The phone tells of new keys at the next link-up, or when it is asked.
		if _, err := d.capture(ctx, d.command("computer", "keys", "refresh"), ""); err != nil {
			return false
		}
		accepted, err := d.acceptCA(ctx)
		if failed = err; err != nil {
			return true
		}
		s, err := d.status(ctx)
		if err != nil || len(s.Identities) == 0 {
			return false
		}
		usable := slices.IndexFunc(s.Identities, func(i control.Identity) bool {
			return !i.Certificate && (old == "" || !strings.HasPrefix(i.Algorithm, "sk-"))
		})
		if usable < 0 {
			hint()
			return false
		}
		d.want = s.Identities[usable].Fingerprint
		return accepted
	})
	return errors.Join(err, failed)
}

// acceptCA has the user compare the CA that was made on the page, and accepts it.
// It reports whether there is one that is accepted.
func (d *demo) acceptCA(ctx context.Context) (bool, error) {
	out, err := d.capture(ctx, d.command("computer", "ca", "--json"), "")
	var all []control.CA
	if err != nil || json.Unmarshal([]byte(out), &all) != nil || len(all) == 0 {
		return false, nil // not there yet
	}
	ca := all[0]
	if ca.Confirmed {
		return true, nil
	}
	if err := d.Text("   The page shows the CA's fingerprint. It has to be " + ca.Fingerprint + ".\n"); err != nil {
		return false, err
	}
	if !d.Yes && d.attended() {
		d.Aside("   Press Enter if it is: ")
		if err := d.enter(ctx); err != nil {
			return false, err
		}
	}
	_, err = d.vmux(ctx, "computer", "", "ca", "accept", "--fingerprint", ca.Fingerprint)
	return err == nil, err
}

// oldOpenSSH returns this computer's OpenSSH version if that cannot use
// passkeys, else "".
func (d *demo) oldOpenSSH(ctx context.Context) string {
	version := d.OpenSSHVersion(ctx)
	var major, minor int
	if n, _ := fmt.Sscanf(version, "OpenSSH_%d.%d", &major, &minor); n == 2 && (major > 10 || major == 10 && minor >= 3) {
		return ""
	}
	return strings.Replace(version, "_", " ", 1)
}

// person waits for something that a person does, and says so meanwhile.
func (d *demo) person(ctx context.Context, patience time.Duration, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d.Say("waiting for %s", what)
	poll := time.NewTicker(500 * time.Millisecond)
	defer poll.Stop()
	for !done() {
		select {
		case <-poll.C:
		case <-d.agent.Exited:
			return d.agent.Ended()
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return wire.Errorf(wire.CodeRequestExpired, "waited %.0f min for %s, which did not come", patience.Minutes(), what)
			}
			return ctx.Err()
		}
	}
	return nil
}

// status is what the agent says of itself.
func (d *demo) status(ctx context.Context) (s control.Status, err error) {
	out, err := d.capture(ctx, d.command("computer", "status", "--json"), "")
	if decoded := json.Unmarshal([]byte(out), &s); decoded == nil {
		return s, nil // also with the phone away, which is an exit status
	}
	return s, err
}

// dropCertificate has the agent forget a certificate that it has got already,
// which would let in without the key: on the page, a person can let computers ask
// for one by themselves.
func (d *demo) dropCertificate(ctx context.Context) error {
	if !d.paged() {
		return nil
	}
	s, err := d.status(ctx)
	if err == nil && s.Certificate.Serial != "" {
		_, err = d.openssh(ctx, d.tools.sshAdd, "-D")
	}
	return err
}

// signed counts the phone's signatures that the agent has got.
func (d *demo) signed(ctx context.Context) (n int, err error) {
	s, err := d.status(ctx)
	for _, e := range s.History {
		if e.Kind == "sign" && e.Code == "" && strings.HasPrefix(e.Text, "Signed by ") {
			n++
		}
	}
	return n, err
}

// leftOnPhone says what the person may want to remove.
func (d *demo) leftOnPhone() []string {
	switch {
	case d.Handset:
		return []string{"On the phone, remove the certificate of this demonstration's hub (Settings), and the page's data."}
	case d.Web:
		return []string{"What the page has made stays in the browser, for " + d.hub + " alone; its Settings forget everything."}
	}
	return nil
}

// user is who runs this.
func (d *demo) user() string {
	me, err := user.Current()
	if err != nil {
		return "root"
	}
	return wire.Show(me.Username)
}

// authorizedLines are public keys as they stand in authorized_keys, where a
// certificate has no place. A passkey's line makes the server insist on Face ID
// or its like.
func authorizedLines(keys string) (lines []string) {
	for line := range strings.Lines(keys) {
		line = strings.TrimSpace(line)
		if !strings.Contains(line, "-cert-v01@openssh.com ") {
			lines = append(lines, serveraccess.KeyLine(line))
		}
	}
	return lines
}
