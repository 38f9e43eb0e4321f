package test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"vmux/internal/sshdtest"
)

// startPhoneAsService runs a phone as a service manager does: without a terminal.
func (w *world) startPhoneAsService(args ...string) *daemon {
	w.Helper()
	d := w.phone.startProgram("phone.log", "setsid", append([]string{vmux(w), "phone", "run", "--listen", "127.0.0.1:0"}, args...)...)
	d.waitLog("vmux: no terminal to ask on: requests wait for one\nhint: vmux phone attach\n")
	d.waitLog("Advertising")
	return d
}

// remembered tells of each signature that was approved whether its passphrase was remembered.
func (w *world) remembered() (all []bool) {
	w.Helper()
	for line := range strings.Lines(w.phone.run("phone", "log", "--json")) {
		var r struct {
			Kind, Decision string
			Remembered     bool
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			w.Fatal(err)
		}
		if r.Kind == "sign" && r.Decision == "approved" {
			all = append(all, r.Remembered)
		}
	}
	return all
}

// attach attaches a terminal to the phone that runs.
func (w *world) attach() *screen {
	w.Helper()
	s := onTerminal(w, w.phone.command(w.Context(), "phone", "attach"))
	s.waitCount("Attached to the phone ", 1, "")
	return s
}

// A phone without a terminal asks at the one that is attached. A passphrase that was typed
// there is not asked for again for a while, and each login is approved all the same; until
// it is locked, by a command or by a key, or the terminal is detached.
func TestPhoneAsAServiceRemembersAPassphrase(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("ssh-ed25519", "ssh-ed25519")
	service := w.startPhoneAsService("--remember", "15m", "--name", "closet")
	w.startAgent()
	w.pair()
	o := sshdtest.Old(t)
	prod := w.server(o)
	person := w.attach()
	if person.count("closet. ^C detaches") != 1 {
		t.Error("it is not said which phone it is")
	}
	logsIn := func(typed bool) {
		t.Helper()
		sheets, asked := person.sheets(), person.count("Passphrase of ssh-ed25519: ")
		done := w.logsIn(o, prod)
		person.waitCount("Approved.", person.count("Approved.")+1, "y")
		if typed {
			person.waitCount("Passphrase of ssh-ed25519: ", asked+1, "")
			person.types("\x15" + passphrase + "\n")
		}
		if err := w.wait(done); err != nil {
			t.Error(err)
		}
		if n := person.count("Passphrase of ssh-ed25519: ") - asked; person.sheets() != sheets+1 || (n > 0) != typed {
			t.Errorf("%d sheets and %d passphrases", person.sheets()-sheets, n)
		}
	}
	logsIn(true)
	person.waitCount("Unlocked for 15 min. l locks", 1, "")
	logsIn(false)
	if n := person.count("  unlocked  for 15 min: no passphrase is asked for; l locks"); n != 1 {
		t.Errorf("%d of two sheets say that no passphrase is asked for", n)
	}
	if r := w.phone.try("phone", "lock"); r != (result{"", "vmux: locked: ended are 1 remembered passphrase and 0 grants\n", 0}) {
		t.Errorf("vmux phone lock: %+v", r)
	}
	person.waitCount("Locked: each passphrase is asked for again.", 1, "")
	offered := person.count("Unlocked for 15 min. l locks")
	logsIn(true)
	person.waitCount("Unlocked for 15 min. l locks", offered+1, "")
	person.types("l")
	person.waitCount("Locked: each passphrase is asked for again.", 2, "")
	logsIn(true)
	person.types("\x03")
	person.waitCount("vmux: detached: the phone goes on", 1, "")
	person = w.attach()
	logsIn(true)
	if all := w.remembered(); !strings.EqualFold(strings.Trim(strings.Join(strings.Fields(jsonOf(t, all)), ""), "[]"), "false,true,false,false,false") {
		t.Errorf("the log: %v", all)
	}
	if out := w.phone.run("phone", "log"); strings.Count(out, "the passphrase was remembered") != 1 {
		t.Errorf("vmux phone log:\n%s", out)
	}
	if strings.Contains(person.text()+service.log(), passphrase) {
		t.Error("the passphrase is on a screen or in the log")
	}
	service.stop()
	person.waitCount("The phone has ended.", 1, "")
	if r := w.phone.try("phone", "lock", "--json"); r.stdout != "{\"passphrases\":0,\"grants\":0}\n" {
		t.Errorf("vmux phone lock without a phone: %+v", r)
	}
	r := w.phone.try("phone", "attach")
	if r.exit == 0 {
		t.Errorf("attached to no phone: %+v", r)
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A login waits when nobody is attached, and its sheet fits the terminal that comes, of 80
// columns and of 40: no line is broken by the terminal itself, where a name could draw a row.
func TestAttachOnTerminals(t *testing.T) {
	t.Parallel()
	w := unpairedWorld(t)
	w.createIdentity("ssh-ed25519", "ssh-ed25519")
	w.startPhoneAsService("--passphrase-file", w.passphraseFile, "--name", "closet")
	w.startAgent()
	w.pair()
	o := sshdtest.Old(t)
	prod := w.server(o)
	path := vmux(t)
	blanks := regexp.MustCompile(`\s+`)
	attach := path + " phone attach; echo ended $?; "
	term := w.phone.openTerminal(80, 24, attach+"read enter; clear; "+attach+"cat")
	for _, columns := range []string{"80", "40"} {
		if columns != "80" {
			term.tmux("resize-window", "-x", columns, "-y", "24")
			term.tmux("send-keys", "Enter")
		}
		done := w.logsIn(o, prod)
		term.shows("Answer [y/n/m]   ")
		drawn, unbroken := term.screen(), strings.TrimRight(term.tmux("capture-pane", "-p", "-J"), "\n")
		if countLines(drawn) != countLines(unbroken) {
			t.Errorf("%s columns: the terminal has broken lines:\n%s", columns, drawn)
		}
		said := blanks.ReplaceAllString(drawn, "")
		for _, want := range []string{"Attached to the phone closet. ^C detaches: the phone goes on.", username(t) + "@", fingerprintOf(t, prod.HostKey) + "  (verified)"} {
			if !strings.Contains(said, blanks.ReplaceAllString(want, "")) {
				t.Errorf("%s columns: no %q on the screen:\n%s", columns, want, drawn)
			}
		}
		typed := time.Now()
		waitFor(t, "the answer", func() bool {
			if time.Since(typed) > time.Second { // one that came too soon makes it wait longer
				term.tmux("send-keys", "y")
				typed = time.Now()
			}
			return strings.Contains(term.screen(), "Approved.")
		})
		if err := w.wait(done); err != nil {
			t.Error(err)
		}
		term.tmux("send-keys", "C-c")
		term.shows("vmux: detached: the phone goes on\nended 0")
	}
}

func countLines(screen string) int { return strings.Count(screen, "\n") }

// The phone's own terminal says that another one was attached, gives its question away, and
// gets it back. Keys that are typed there meanwhile answer nothing.
func TestAttachedTerminalIsAsked(t *testing.T) {
	t.Parallel()
	w, own := askingWorld(t)
	o := sshdtest.Old(t)
	prod := w.server(o)
	done := w.logsIn(o, prod)
	own.waitCount("asks: ", 1, "")
	first := w.attach()
	own.waitCount("Asked at another terminal now: vmux phone attach.", 1, "")
	own.waitCount("Another terminal was attached, and is asked now.", 1, "")
	own.types("y")
	first.waitCount("asks: ", 1, "")
	second := w.attach()
	first.waitCount("Another terminal was attached: this one is detached.", 1, "")
	first.waitCount("hint: vmux phone attach", 1, "")
	second.waitCount("asks: ", 1, "")
	second.types("\x03")
	second.waitCount("vmux: detached: the phone goes on", 1, "")
	own.waitCount("asks: ", 2, "")
	own.waitCount("Approved.", 1, "y")
	if err := w.wait(done); err != nil {
		t.Error(err)
	}
	if n := w.approvals(); n != 1 {
		t.Errorf("%d approvals, want one", n)
	}
}

// A computer that is connected learns the phone's new name at once.
func TestPhoneIsRenamed(t *testing.T) {
	t.Parallel()
	w := hubless(t, "ssh-ed25519")
	w.startPhone("--name", "old")
	w.startAgent()
	w.pair()
	w.waitStatus("Connected to old")
	if out := w.phone.run("phone", "name", "--name", "new phone"); out != "new phone\n" {
		t.Errorf("vmux phone name: %q", out)
	}
	w.waitStatus("Connected to new phone")
	w.phoneRun.stop()
	if out := w.phone.run("phone", "name"); out != "new phone\n" {
		t.Errorf("vmux phone name, after it has ended: %q", out)
	}
}
