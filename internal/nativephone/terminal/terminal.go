// Package terminal asks a person at a terminal: what a request's sheet says, which key
// answers it, and what that key must not be mistaken for. It decides nothing.
package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"vmux/internal/device"
	"vmux/internal/nativephone/remember"
	"vmux/internal/signer"
	"vmux/internal/signer/hosts"
	"vmux/internal/wire"
)

const (
	// inert is how long a sheet takes no key: what was typed for something else
	// must not approve it.
	inert = 500 * time.Millisecond
	// silence is how long nobody types until what is typed is for the next
	// question: one that was interrupted may have been in the midst of an answer.
	silence = 2 * time.Second
	// lateTime is how long a passphrase may come that is not asked for any more: where nobody
	// else is asked meanwhile, it is not shown.
	lateTime = time.Minute
	// grantTime is how long the like of a request passes that was approved with g.
	grantTime = 15 * time.Minute
	// maxTyped bounds a typed passphrase, in bytes: as long as a new one can be.
	maxTyped = 4096
)

// ErrHungUp is returned when nobody can answer here, at least for the time: see errStuck and
// errBackground.
var ErrHungUp = errors.New("the terminal is gone")

// hungUp is an ErrHungUp.
func hungUp(err error) error {
	if errors.Is(err, ErrHungUp) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrHungUp, err)
}

// ErrElsewhere is the cause of a context whose question is asked at another terminal now.
var ErrElsewhere = errors.New("it is asked at another terminal")

// Device is what a person sits at.
type Device interface {
	// Keystrokes switches to single keys without echo, and throws away what was typed
	// before.
	Keystrokes() (restore func(), err error)
	// ReadKeys returns what has been typed, perhaps nothing, within about a tenth of a
	// second, and an error where nobody will type any more.
	ReadKeys(b []byte) (int, error)
	// Columns is its width; 0 if it does not say.
	Columns() int
	io.Writer
}

// Terminal asks a person at a terminal, one question after the other. Each ends
// with its outcome, also when the computer withdraws it or its time is over.
// Safe for concurrent use.
type Terminal struct {
	// Remedies are offered after several denials; to be set before anything is
	// asked, as what follows is.
	Remedies Remedies
	// Memory keeps the passphrases that are typed here, for here alone; nil: it keeps none.
	Memory *remember.Memory
	// Lock forgets what is remembered; nil: Memory is cleared.
	Lock func()

	tty    Device
	keys   keys // owned by who has the screen
	screen screen
	groups groups
	silent bool // no passphrase is asked for
	// offering tells that a line offers to lock what is remembered.
	offering atomic.Bool
	inert    time.Duration

	// life ends with Close, and with it what is offered after denials and what
	// discards the rest of an answer.
	life context.Context
	die  context.CancelFunc
	rest sync.WaitGroup

	// drawing guards the terminal's last line, and what is offered of which
	// computer. It is held for writing alone.
	drawing sync.Mutex
	offered map[device.ID]context.CancelFunc
	line    string // the question that stands there unfinished
	failed  error  // of the last that was written
	restore func() // of the terminal's mode; owned by who has the screen
}

// New returns a Terminal that asks on tty. Between questions the
// terminal stays as it was found.
func New(tty Device) *Terminal {
	t := &Terminal{tty: tty, inert: inert}
	t.life, t.die = context.WithCancel(context.Background())
	t.screen.enter = func() (err error) {
		if t.restore, err = tty.Keystrokes(); err != nil {
			return hungUp(err)
		}
		return nil
	}
	t.screen.leave = func() { t.restore() }
	return t
}

// Approver returns the functions that ask. With a passphrase, that one is used
// instead of asking for any.
func (t *Terminal) Approver(passphrase []byte) signer.Approver {
	a := signer.Approver{Sign: t.sign, Certificate: t.certificate, Passphrase: t.passphrase, Unlocked: t.unlocked, Failed: t.failedToUnlock, Paused: t.paused}
	if passphrase != nil {
		a.Passphrase, a.Unlocked, a.Failed = WithPassphrase(passphrase, t.Say), nil, nil
		t.silent = true
	}
	return a
}

// Close leaves the terminal as it was found. Nothing may be asked any more.
func (t *Terminal) Close() {
	t.die()
	t.rest.Wait()
	t.screen.close()
}

// Above runs f, which writes whole lines to the terminal, without tearing the
// question that stands there.
func (t *Terminal) Above(f func()) {
	t.drawing.Lock()
	defer t.drawing.Unlock()
	standing := t.line
	t.redraw("")
	f()
	t.redraw(standing)
}

// Say writes lines above the question that stands there.
func (t *Terminal) Say(text string) { t.Above(func() { t.write(layOut(text, t.tty.Columns())) }) }

func (t *Terminal) sign(ctx context.Context, s signer.SignSheet) (signer.SignDecision, error) {
	asked, keys := "Sign?  y yes, n no, m no and mute for an hour", "ynm"
	switch {
	case s.Destination.LooksLike != (wire.Text{}):
		asked, keys = "The name LOOKS LIKE another one. Sign all the same?  C yes, n no", "Cn"
	case s.Destination.Memory == hosts.Changed:
		asked, keys = "The host key has CHANGED. Sign all the same?  C yes, n no", "Cn"
	case s.Destination.Downgraded:
		asked, keys = "The login does NOT NAME the server. Sign all the same?  C yes, n no", "Cn"
	case s.MustAcknowledge():
		asked, keys = "COMPARE the fingerprint with that of the server. Is it the same?  C yes, n no", "Cn"
	case s.OffersGrant():
		asked = fmt.Sprintf("You have approved %d like it within a minute. With g the like of it needs no answer for 15 minutes.\n", s.Again)
		asked, keys = asked+"Sign?  g yes and the like for 15 minutes, y yes, n no, m no and mute for an hour", "gynm"
	case s.Grantable():
		asked, keys = "Sign?  y yes, g yes and the like for 15 minutes, n no, m no and mute for an hour", "ygnm"
	}
	m := t.groups.join(ctx, s)
	defer t.groups.leave(m)
	listed := []*member{m}
	key, err := t.ask(m.ctx, question{
		sheet: s.Sheet, key: s.Fingerprint, text: signText(s), asked: asked, keys: keys,
		joined: func() string {
			added := t.groups.like(m, listed)
			listed = append(listed, added...)
			return listText(added)
		},
		listed:   func() int { return len(listed) },
		answered: func(key byte) { t.groups.decide(listed, decisionOf(key)) },
	})
	if d := t.groups.leave(m); d != nil {
		return *d, nil
	}
	return decisionOf(key), err
}

// decisionOf is what a key means on the sheet of a signature; none (0) denies.
func decisionOf(key byte) signer.SignDecision {
	d := signer.SignDecision{Approved: isApproval(key), Mute: key == 'm'}
	if key == 'g' {
		d.Grant = grantTime
	}
	return d
}

// isApproval tells the keys that let a request pass.
func isApproval(key byte) bool { return key != 0 && strings.IndexByte("yhgC", key) >= 0 }

func (t *Terminal) certificate(ctx context.Context, s signer.CertificateSheet) (signer.CertificateDecision, error) {
	asked, keys := "Issue it?  y yes, n no", "yn"
	if s.Validity > time.Hour {
		asked, keys = "Issue it?  y yes, h yes but for one hour, n no", "yhn"
	}
	key, err := t.ask(ctx, question{sheet: s.Sheet, key: s.CA.Fingerprint(), text: certificateText(s), asked: asked, keys: keys})
	d := signer.CertificateDecision{Approved: key == 'y' || key == 'h'}
	if key == 'h' {
		d.Validity = time.Hour
	}
	return d, err
}

// question is a sheet and the keys that answer it.
type question struct {
	sheet       signer.Sheet
	key         string // fingerprint of the one that will sign
	text        string
	asked, keys string
	// joined returns what has to be shown of requests that joined the sheet
	// since it was last called; nil if none can.
	joined func() string
	// listed counts the requests on the sheet; nil if it is one.
	listed func() int
	// answered is told the key before the screen goes to the next sheet, which
	// may be one that was listed here; nil if that is nobody's business.
	answered func(byte)
}

// short is the question on the line that is drawn anew each second, which has to
// fit a narrow terminal: what the keys do stands above it.
func (q question) short() string {
	return "Answer [" + strings.Join(strings.Split(q.keys, ""), "/") + "]"
}

func (q question) requests() int {
	if q.listed == nil {
		return 1
	}
	return q.listed()
}

// ask shows a sheet and returns the key that answers it. It returns the error of
// ctx when the window closes or the computer withdraws the request.
func (t *Terminal) ask(ctx context.Context, q question) (byte, error) {
	q.sheet.Shown() // one that waits is shown as a number below the sheet before it
	if err := t.take(ctx, inTurn); err != nil {
		return 0, err
	}
	if time.Until(q.sheet.Expires) <= t.inert { // nobody could answer it any more
		t.screen.give()
		<-ctx.Done()
		return 0, ctx.Err()
	}
	t.print(t.textOf(q))
	key, err := t.countDown(ctx, q)
	if err != nil && errors.Is(context.Cause(ctx), ErrElsewhere) {
		err = ErrElsewhere
	}
	if err == nil && q.answered != nil {
		q.answered(key)
	}
	t.finish(q.sheet, key, err)
	switch {
	case err != nil:
		t.giveAfterSilence(0)
	case isApproval(key) && !t.silent:
		t.screen.giveAfter(t.discardIfTyped)
	default:
		t.screen.give()
	}
	return key, err
}

// take waits for the screen until ctx ends. What was not shown of the question before
// it is no fault of the next one.
func (t *Terminal) take(ctx context.Context, r rank) error {
	if err := t.screen.take(ctx, r); err != nil {
		return err
	}
	t.drawing.Lock()
	defer t.drawing.Unlock()
	t.failed = nil
	return nil
}

// giveAfterSilence passes the screen on once the rest of an answer that was
// interrupted is typed: an attacker who withdraws his request while its
// passphrase is typed would have the rest of it answer his next one, and a
// terminal that is given back would show it. Where nobody waits for the screen, it stays so
// long.
func (t *Terminal) giveAfterSilence(alone time.Duration) {
	t.rest.Go(func() {
		t.discard(alone)
		t.screen.give()
	})
}

// discard reads until Enter, or until nobody has typed for the silence, and has the time alone.
func (t *Terminal) discard(alone time.Duration) {
	began := time.Now()
	for last := began; time.Since(last) < silence || time.Since(began) < alone && t.screen.others() == 0; {
		typed, err := t.read(t.life)
		enter := bytes.ContainsAny(typed, "\r\n")
		clear(typed)
		if err != nil || enter {
			return
		}
		if len(typed) > 0 {
			last = time.Now()
		}
	}
}

// discardIfTyped does so where a passphrase that was expected has been begun,
// and is not asked for.
func (t *Terminal) discardIfTyped() {
	typed, err := t.read(t.life)
	if err == nil && len(typed) > 0 && !bytes.ContainsAny(typed, "\r\n") {
		t.discard(0)
	}
	clear(typed)
}

// width is how many columns lines are broken for.
func (t *Terminal) width() int {
	if columns := t.tty.Columns(); columns > 0 {
		return columns
	}
	return usualWidth
}

func (t *Terminal) textOf(q question) string {
	return "\n" + q.text + t.unlockedText(q.key) + q.asked + "\n"
}

// countDown reads keys until one of those that answer. A sheet that has changed
// takes none for a moment, and each that comes within it begins it anew: what was
// meant for less, or for something else, must not approve more. Where the terminal has
// become narrower it breaks lines itself, see layOut: the sheet is shown again.
func (t *Terminal) countDown(ctx context.Context, q question) (byte, error) {
	changed := time.Now()
	laidOut := t.width()
	columns := laidOut
	for {
		if q.joined != nil {
			if text := q.joined(); text != "" {
				t.print(text)
				q.text += text
				changed = time.Now()
			}
		}
		switch now := t.width(); {
		case now != columns:
			columns, changed = now, time.Now()
		case columns < laidOut && time.Since(changed) >= t.inert:
			t.print(t.textOf(q))
			laidOut, changed = columns, time.Now()
		}
		t.draw(fmt.Sprintf("%s   %d s left%s ", q.short(), secondsLeft(q.sheet.Expires), more(t.screen.others()+1-q.requests())))
		typed, err := t.read(ctx)
		if err != nil {
			return 0, err
		}
		if time.Since(changed) < t.inert {
			if len(typed) > 0 {
				changed = time.Now()
			}
			continue
		}
		for _, b := range typed {
			if t.locksBy(b, q.key) {
				changed = time.Now()
				break
			}
			if strings.IndexByte(q.keys, b) >= 0 {
				return b, nil
			}
			if low := b | 0x20; b >= 'A' && b <= 'Z' && strings.IndexByte(q.keys, low) >= 0 {
				return low, nil
			}
		}
	}
}

func secondsLeft(expires time.Time) int {
	return int(max(0, time.Until(expires.Round(0)).Round(time.Second)/time.Second))
}

func more(waiting int) string {
	if waiting <= 0 {
		return ""
	}
	return fmt.Sprintf(", %d more waiting", waiting)
}

// finish replaces the question by what became of it.
func (t *Terminal) finish(s signer.Sheet, key byte, err error) {
	outcome := "Approved."
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		outcome = "Expired: the time to answer is over."
	case errors.Is(err, context.Canceled):
		outcome = "Withdrawn: " + Named(s.From.Name) + " no longer waits."
	case errors.Is(err, ErrElsewhere):
		outcome = "Asked at another terminal now: vmux phone attach."
	case err != nil:
		outcome = "Not answered: " + err.Error() + "."
	case key == 'n':
		outcome = "Denied."
	case key == 'm':
		outcome = "Denied. This program is not asked for within the next hour."
	case key == 'h':
		outcome = "Approved for one hour."
	case key == 'g':
		outcome = "Approved, and the like of it for 15 minutes: see vmux phone grants."
	}
	t.end(outcome)
}

// passphrase asks for a passphrase, of which nothing appears on the screen.
// ^D gives up.
func (t *Terminal) passphrase(ctx context.Context, r signer.PassphraseRequest) ([]byte, error) {
	if secret := t.remembered(r); secret != nil {
		return secret, nil
	}
	return t.groups.passphrase(ctx, r, t.askPassphrase)
}

func (t *Terminal) askPassphrase(ctx context.Context, r signer.PassphraseRequest) ([]byte, error) {
	if err := t.take(ctx, first); err != nil {
		return nil, err
	}
	question := "Passphrase of " + r.Label.String() + ": "
	if r.Attempt > 1 {
		question = "Wrong. " + question
	}
	t.draw(question)
	secret, err := t.readLine(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		t.end("Expired: the time to answer is over. What is typed is thrown away until Enter.")
		t.giveAfterSilence(lateTime)
	case errors.Is(err, context.Canceled):
		t.end("Withdrawn: the computer no longer waits. What is typed is thrown away until Enter.")
		t.giveAfterSilence(lateTime)
	case err != nil:
		t.end("No passphrase: denied.")
		t.screen.give()
	default:
		t.end(question)
		t.screen.giveAfter(func() {}) // a wrong one is asked again at once
	}
	return secret, err
}

// readLine reads a line without showing it. Its buffer never grows, so that no
// copies stay behind; the caller wipes it.
func (t *Terminal) readLine(ctx context.Context) ([]byte, error) {
	line := make([]byte, 0, maxTyped)
	for {
		typed, err := t.read(ctx)
		if err != nil {
			clear(line)
			return nil, err
		}
		for _, b := range typed {
			switch {
			case b == '\n' || b == '\r':
				clear(typed)
				return line, nil
			case b == 0x04: // ^D
				clear(line)
				return nil, wire.NewError(wire.CodeUserDenied)
			case b == 0x15: // ^U
				line = cut(line, 0)
			case b == 0x17: // ^W
				line = cut(line, bytes.LastIndexByte(bytes.TrimRight(line, " "), ' ')+1)
			case b == escape: // a key that is no character, or the frame of what is pasted
			case b == 0x7f || b == '\b':
				_, size := utf8.DecodeLastRune(line)
				line = cut(line, len(line)-size)
			case len(line) < maxTyped:
				line = append(line, b)
			}
		}
		clear(typed)
	}
}

// cut wipes what is behind the first n bytes.
func cut(line []byte, n int) []byte {
	clear(line[n:])
	return line[:n]
}

// read returns the characters that were typed, perhaps none, within a tenth of a second.
// A key that is none, as an arrow, is an ESC.
func (t *Terminal) read(ctx context.Context) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var b [64]byte
	n, err := t.tty.ReadKeys(b[:])
	if err == nil {
		err = t.unseen()
	}
	if err != nil {
		clear(b[:])
		return nil, hungUp(err)
	}
	return t.keys.only(b[:n]), nil
}

// print writes lines, broken to the terminal's width.
func (t *Terminal) print(text string) {
	t.printWhole(layOut(text, t.tty.Columns()))
}

// printWhole writes lines as they are: to be copied.
func (t *Terminal) printWhole(text string) {
	t.drawing.Lock()
	defer t.drawing.Unlock()
	t.redraw("")
	t.write(text)
}

// draw replaces the last line.
func (t *Terminal) draw(line string) {
	t.drawing.Lock()
	defer t.drawing.Unlock()
	t.redraw(line)
}

// end replaces the last line for good.
func (t *Terminal) end(line string) {
	t.drawing.Lock()
	defer t.drawing.Unlock()
	if t.fit(line) == line {
		t.redraw(line) // what stands there already is not written again
	} else { // it stands for good: it may wrap
		t.redraw("")
		t.write("\r" + line)
	}
	t.write("\n")
	t.line = ""
}

// fit cuts a line to the terminal's width: one that wraps cannot be overwritten,
// and each redraw of it would scroll the screen.
func (t *Terminal) fit(line string) string {
	width := t.tty.Columns()
	if width <= 0 {
		return line
	}
	left := width - 1 // the last column makes some terminals wrap
	for at, r := range line {
		if left -= columnsOf(r); left < 0 {
			return line[:at]
		}
	}
	return line
}

// redraw overwrites the last line, with spaces first where the old one may be longer.
// The caller holds drawing.
func (t *Terminal) redraw(line string) {
	line = t.fit(line)
	if line == t.line {
		return
	}
	text := "\r" + line
	if old := columnsIn(t.line); old > utf8.RuneCountInString(line) {
		text = "\r" + strings.Repeat(" ", old) + text
	}
	t.write(text)
	t.line = line
}

// write keeps how it has failed: nobody answers what was not shown. The caller holds drawing.
func (t *Terminal) write(text string) {
	if _, err := io.WriteString(t.tty, text); err != nil {
		t.failed = err
	}
}

// unseen is why not all of a question was shown; nil if it was.
func (t *Terminal) unseen() error {
	t.drawing.Lock()
	defer t.drawing.Unlock()
	return t.failed
}
