//go:build linux || darwin

package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"vmux/internal/device"
	"vmux/internal/signer"
	"vmux/internal/signer/hosts"
	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// patience bounds every wait.
const patience = 60 * time.Second

// person sits at the other end of a real terminal.
type person struct {
	t    *testing.T
	end  *os.File
	mu   sync.Mutex
	seen bytes.Buffer
}

// sitDown returns a Terminal on a pseudo-terminal and the person before it.
func sitDown(t *testing.T) (*Terminal, *person) {
	t.Helper()
	end, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, end: end}
	var reading sync.WaitGroup
	reading.Go(func() {
		b := make([]byte, 4096)
		for {
			n, err := end.Read(b)
			p.mu.Lock()
			p.seen.Write(b[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	terminal := New(NewFile(tty))
	t.Cleanup(func() {
		terminal.Close()
		_ = tty.Close()
		_ = end.Close()
		reading.Wait()
	})
	return terminal, p
}

func (p *person) screen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.String()
}

func (p *person) types(text string) {
	p.t.Helper()
	if _, err := p.end.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

// sees waits for text on the screen.
func (p *person) sees(text string) {
	p.t.Helper()
	waitFor(p.t, text, func() bool { return strings.Contains(p.screen(), text) })
}

// keepsTyping types a key until done, each time after a moment in which a sheet
// that takes none yet becomes one that does.
func (p *person) keepsTyping(key string, done func() bool) {
	p.t.Helper()
	typed := time.Now()
	waitFor(p.t, "an answer to "+key, func() bool {
		if !done() && time.Since(typed) > inert+300*time.Millisecond {
			p.types(key)
			typed = time.Now()
		}
		return done()
	})
}

// pauses types nothing for a while.
func (p *person) pauses(d time.Duration) {
	p.t.Helper()
	began := time.Now()
	waitFor(p.t, "a pause", func() bool { return time.Since(began) > d })
}

// waitFor waits for what nothing announces.
var waitFor = testkit.WaitFor

func sheet(name string, left time.Duration) signer.SignSheet {
	return signer.SignSheet{
		Sheet: signer.Sheet{
			From: device.Peer{ID: device.ID{name[0]}, Name: wire.Clean(name)}, Label: wire.Clean("work"), Expires: time.Now().Add(left), Shown: func() {},
		},
		Fingerprint: "SHA256:abc",
		Known:       sshctx.Context{Kind: sshctx.HostBound, User: "root", HostKey: []byte("host")},
		Claimed:     signer.ClaimsOf(wire.Context{HostName: "db1", Programs: []string{"ssh", "git"}}),
		Destination: hosts.Destination{HostKey: []byte("host"), Memory: hosts.First, NewUser: true},
	}
}

type answer struct {
	approved bool
	err      error
}

// asks shows a sheet and returns where its answer comes.
func asks(ctx context.Context, a signer.Approver, s signer.SignSheet) chan answer {
	c := make(chan answer, 1)
	go func() {
		approved, err := a.Sign(ctx, s)
		c <- answer{approved.Approved, err}
	}()
	return c
}

func get(t *testing.T, c chan answer) answer {
	t.Helper()
	select {
	case a := <-c:
		return a
	case <-time.After(patience):
		t.Fatal("no answer")
		return answer{}
	}
}

// unanswered fails if there is an answer by now.
func unanswered(t *testing.T, c chan answer, wrong string) {
	t.Helper()
	select {
	case a := <-c:
		t.Fatalf("%s: %+v", wrong, a)
	default:
	}
}

func TestSheetSaysWhoAsksForWhat(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	c := asks(t.Context(), terminal.Approver([]byte("x")), sheet("laptop\x1b[2J", 60*time.Second))
	for _, text := range []string{
		"\"laptop\uFFFD[2J\" asks: root@db1 (claimed)", "work  SHA256:abc", "user      root",
		"server    " + sshctx.Fingerprint([]byte("host")) + "  (verified)", "seen      never before",
		"name      db1  (so the computer says)", "program   ssh ← git", " s left",
	} {
		p.sees(text)
	}
	p.sees("58 s left") // it counts down
	p.keepsTyping("y", func() bool { return len(c) > 0 })
	if a := get(t, c); !a.approved || a.err != nil {
		t.Errorf("approved with y: %v, %v", a.approved, a.err)
	}
	p.sees("Approved.")
	if strings.Contains(p.screen(), "\x1b") {
		t.Error("an escape sequence of the peer's reached the terminal")
	}
}

// A server whose host key has changed is approved by a key of its own: whoever
// types y by habit has not read the warning.
func TestChangedHostKeyIsAcknowledged(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	s := sheet("laptop", 60*time.Second)
	s.Destination.Memory, s.Destination.Before = hosts.Changed, []wire.Text{wire.Clean("SHA256:before")}
	c := asks(t.Context(), terminal.Approver([]byte("x")), s)
	p.sees("warning   db1 had another host key: SHA256:before")
	p.sees("The host key has CHANGED.")
	for range 2 {
		p.pauses(inert + 300*time.Millisecond)
		p.types("yYc")
	}
	p.pauses(300 * time.Millisecond) // until they are read
	unanswered(t, c, "answered by y or c")
	p.keepsTyping("C", func() bool { return len(c) > 0 })
	if a := get(t, c); !a.approved || a.err != nil {
		t.Errorf("acknowledged with C: %v, %v", a.approved, a.err)
	}
}

// ansible asks for thirty hosts at once: they come as one sheet, which lists
// each. What comes later than the answer is not answered by it.
func TestOneSheetForThoseThatWaitTogether(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	approver := terminal.Approver(nil)
	together := func(n int) signer.SignSheet {
		s := sheet("laptop", 60*time.Second)
		s.RequestID, s.Known.User = fmt.Sprint(n), fmt.Sprintf("user%d", n)
		return s
	}
	first := asks(t.Context(), approver, together(1))
	p.sees("asks: user1@db1")
	var others []chan answer
	for n := 2; n <= 5; n++ {
		others = append(others, asks(t.Context(), approver, together(n)))
	}
	withdrawn, withdraw := context.WithCancel(t.Context())
	gone := asks(withdrawn, approver, together(6))
	other := together(7)
	other.Fingerprint = "SHA256:other"
	alone := asks(t.Context(), approver, other)
	warned := together(8)
	warned.Destination.Memory = hosts.Changed
	apart := asks(t.Context(), approver, warned)
	for n := 2; n <= 6; n++ {
		p.sees(fmt.Sprintf("and       user%d@db1", n))
	}
	p.sees("2 more waiting")
	withdraw()
	if a := get(t, gone); a.approved || a.err == nil {
		t.Errorf("withdrawn: %+v", a)
	}
	p.keepsTyping("y", func() bool { return len(first) > 0 })
	for n, c := range append(others, first) {
		if a := get(t, c); !a.approved || a.err != nil {
			t.Errorf("request %d: %+v", n, a)
		}
	}
	// The passphrase is asked for once, and a wrong one once more.
	typed := make(chan string, 10)
	pass := func(id string, attempt int) {
		b, err := approver.Passphrase(t.Context(), signer.PassphraseRequest{Label: wire.Clean("work"), RequestID: id, From: device.ID{'l'}, Attempt: attempt})
		if err != nil {
			t.Error(err)
		}
		typed <- string(b)
	}
	for _, round := range []struct {
		attempt int
		text    string
	}{{1, "wrong"}, {2, "right"}} {
		for n := 1; n <= 5; n++ {
			go pass(fmt.Sprint(n), round.attempt)
		}
		if round.attempt == 1 {
			p.sees("Passphrase of work: ")
		} else {
			p.sees("Wrong. Passphrase of work: ")
		}
		p.types(round.text + "\n")
		for range 5 {
			if got := <-typed; got != round.text {
				t.Errorf("attempt %d: %q", round.attempt, got)
			}
		}
	}
	for n := 1; n <= 5; n++ {
		approver.Failed(signer.PassphraseRequest{Label: wire.Clean("work"), RequestID: fmt.Sprint(n), From: device.ID{'l'}, Attempt: 3})
	}
	p.sees("Wrong: nothing was signed with work.")
	if s := p.screen(); strings.Count(s, "nothing was signed") != 1 {
		t.Errorf("it is said of each:\n%s", s)
	}
	unanswered(t, alone, "another key's request was answered too")
	unanswered(t, apart, "a request with a warning was answered too")
	p.keepsTyping("n", func() bool { return len(alone) > 0 && len(apart) > 0 })
}

// Where no passphrase follows, the screen is free at once. None of those that were
// answered together gets it, to be shown again and withdrawn.
func TestAnsweredTogetherIsNotShownAgain(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"y", "n"} {
		terminal, p := sitDown(t)
		approver := terminal.Approver([]byte("from a file"))
		var list []chan answer
		for n := 1; n <= 20; n++ {
			s := sheet("laptop", 60*time.Second)
			s.RequestID, s.Known.User = fmt.Sprint(n), fmt.Sprintf("user%d", n)
			list = append(list, asks(t.Context(), approver, s))
			p.sees(fmt.Sprintf("user%d@db1", n))
		}
		p.keepsTyping(key, func() bool { return len(list[0]) > 0 })
		for n, c := range list {
			if a := get(t, c); a.approved != (key == "y") || a.err != nil {
				t.Errorf("%s: request %d: %+v", key, n+1, a)
			}
		}
		if s := p.screen(); strings.Count(s, "asks: ") != 1 || strings.Contains(s, "Withdrawn") {
			t.Errorf("%s: %d sheets:\n%s", key, strings.Count(s, "asks: "), s)
		}
	}
}

// Nobody answers: the sheet that has listed all of them expires, and none of the
// others is shown for its last moment.
func TestExpiredTogetherIsNotShownAgain(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	approver := terminal.Approver(nil)
	expires := time.Now().Add(6 * time.Second) // for ten sheets on a busy machine
	var list []chan answer
	for n := 1; n <= 10; n++ {
		s := sheet("laptop", time.Until(expires))
		s.RequestID, s.Known.User = fmt.Sprint(n), fmt.Sprintf("user%d", n)
		ctx, cancel := context.WithDeadline(t.Context(), expires.Add(time.Duration(n)*20*time.Millisecond))
		defer cancel()
		list = append(list, asks(ctx, approver, s))
		p.sees(fmt.Sprintf("user%d@db1", n))
	}
	for n, c := range list {
		if a := get(t, c); a.approved || !errors.Is(a.err, context.DeadlineExceeded) {
			t.Errorf("request %d: %+v", n+1, a)
		}
	}
	p.sees("Expired: ")
	if s := p.screen(); strings.Count(s, "asks: ") != 1 || strings.Count(s, "Expired") != 1 {
		t.Errorf("%d sheets:\n%s", strings.Count(s, "asks: "), s)
	}
}

// A request of a group ends without asking for the passphrase. The last of the
// others wipes it all the same.
func TestPassphraseOfAGroupIsWiped(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	approver := terminal.Approver(nil)
	var requests []context.CancelFunc
	var approved []chan answer
	for n := 1; n <= 2; n++ {
		s := sheet("laptop", 60*time.Second)
		s.RequestID, s.Known.User = fmt.Sprint(n), fmt.Sprintf("user%d", n)
		ctx, end := context.WithCancel(t.Context())
		defer end()
		requests, approved = append(requests, end), append(approved, asks(ctx, approver, s))
		p.sees(fmt.Sprintf("user%d@db1", n))
	}
	p.keepsTyping("y", func() bool { return len(approved[0]) > 0 })
	get(t, approved[1])
	g := &terminal.groups
	g.mu.Lock()
	shared := g.secrets[requestKey{device.ID{'l'}, "1"}]
	g.mu.Unlock()
	requests[1]()
	asked := make(chan error)
	go func() {
		_, err := approver.Passphrase(t.Context(), signer.PassphraseRequest{Label: wire.Clean("work"), RequestID: "1", From: device.ID{'l'}, Attempt: 1})
		asked <- err
	}()
	p.sees("Passphrase of work: ")
	p.types("secret\n")
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
	kept := shared.secret
	requests[0]()
	waitFor(t, "the passphrase to be wiped", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.secrets) == 0 && bytes.Equal(kept, make([]byte, len(kept)))
	})
	if len(kept) == 0 {
		t.Error("there was none")
	}
}

// A person types something else while a sheet appears: "y" and a line end that
// were typed before, and those of the first half second, approve nothing.
func TestWhatWasTypedBeforeApprovesNothing(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	p.types("y\ny")
	p.sees("y\r\ny")                 // echoed: it is in the terminal's queue
	terminal.inert = 5 * time.Second // for what comes before the y, on a busy machine
	began := time.Now()
	c := asks(t.Context(), terminal.Approver([]byte("x")), sheet("laptop", 60*time.Second))
	p.sees(" s left")
	p.types("y\n")
	if time.Since(began) > terminal.inert {
		t.Fatal("this machine is too slow for this test")
	}
	// It begins the inert time anew. An answer would come with the next reading, a
	// tenth of a second later.
	typed := time.Now()
	waitFor(t, "the end of the inert time", func() bool { return time.Since(typed) > terminal.inert+500*time.Millisecond })
	unanswered(t, c, "answered by what was typed before")
	typed = time.Time{}
	waitFor(t, "an answer", func() bool {
		if len(c) == 0 && time.Since(typed) > terminal.inert+time.Second { // on a busy machine the y was read late
			p.types("x\nn")
			typed = time.Now()
		}
		return len(c) > 0
	})
	if a := get(t, c); a.approved || a.err != nil {
		t.Errorf("denied with n: %v, %v", a.approved, a.err)
	}
	p.sees("Denied.")
}

func TestWithdrawalAndExpiryReplaceTheQuestion(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	a := terminal.Approver([]byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	c := asks(ctx, a, sheet("laptop", 60*time.Second))
	p.sees(" s left")
	cancel()
	if got := get(t, c); got.approved || !errors.Is(got.err, context.Canceled) {
		t.Errorf("withdrawn: %v, %v", got.approved, got.err)
	}
	p.sees("Withdrawn: laptop no longer waits.")

	p.types("\n") // or two seconds without a key
	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c = asks(ctx, a, sheet("laptop", 5*time.Second))
	if got := get(t, c); got.approved || !errors.Is(got.err, context.DeadlineExceeded) {
		t.Errorf("expired: %v, %v", got.approved, got.err)
	}
	p.sees("Expired: the time to answer is over.")
}

func TestOneSheetAtATime(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	a := terminal.Approver([]byte("x"))
	first := asks(t.Context(), a, sheet("laptop", 60*time.Second))
	p.sees("laptop asks")
	shown := make(chan bool, 1)
	s := sheet("desktop", 60*time.Second)
	s.Shown = func() { shown <- true }
	second := asks(t.Context(), a, s)
	p.sees("1 more waiting")
	<-shown // the computer is told, since the number is seen
	if strings.Contains(p.screen(), "desktop asks") {
		t.Error("two sheets at once")
	}
	p.keepsTyping("n", func() bool { return len(first) > 0 })
	p.sees("desktop asks")
	p.keepsTyping("y", func() bool { return len(second) > 0 })
	if a, b := get(t, first), get(t, second); a.approved || !b.approved {
		t.Errorf("first %v, second %v", a.approved, b.approved)
	}
}

func TestPassphraseFollowsItsApprovalUnseen(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	a := terminal.Approver(nil)
	c := asks(t.Context(), a, sheet("laptop", 60*time.Second))
	p.sees(" s left")
	p.keepsTyping("y", func() bool { return len(c) > 0 })
	get(t, c)
	waits := asks(t.Context(), a, sheet("desktop", 60*time.Second))
	secret := make(chan []byte, 1)
	go func() {
		b, err := a.Passphrase(t.Context(), signer.PassphraseRequest{Label: wire.Clean("work"), Attempt: 1})
		if err != nil {
			t.Error(err)
		}
		secret <- b
	}()
	p.sees("Passphrase of work: ")
	p.types("wrong\x15pass wörx\x7fd\n")
	if b := <-secret; string(b) != "pass wörd" {
		t.Errorf("got %q", b)
	}
	if s := p.screen(); strings.Contains(s, "pass w") || strings.Contains(s, "wrong") {
		t.Error("the passphrase is on the screen")
	} else if strings.Contains(s[:strings.Index(s, "Passphrase of")], "desktop asks") {
		t.Error("another sheet came between")
	}
	p.sees("desktop asks")
	p.keepsTyping("n", func() bool { return len(waits) > 0 })
}

func TestCertificateForOneHour(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	c := make(chan signer.CertificateDecision, 1)
	go func() {
		d, err := terminal.Approver([]byte("x")).Certificate(t.Context(), signer.CertificateSheet{
			Sheet:      signer.Sheet{From: device.Peer{Name: wire.Clean("laptop")}, Label: wire.Clean("work"), Expires: time.Now().Add(time.Minute), Shown: func() {}},
			Principals: []string{"root", "deploy"}, Validity: 8 * time.Hour, Automatic: true,
		})
		if err != nil {
			t.Error(err)
		}
		c <- d
	}()
	for _, text := range []string{"log in as root, deploy", "8h", "nobody pressed a button"} {
		p.sees(text)
	}
	p.keepsTyping("h", func() bool { return len(c) > 0 })
	if d := <-c; !d.Approved || d.Validity != time.Hour {
		t.Errorf("decided %+v", d)
	}
}

// A terminal that goes away approves nothing, and does not hang.
func TestHangUpIsNoApproval(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := asks(ctx, terminal.Approver([]byte("x")), sheet("laptop", 60*time.Second))
	p.sees(" s left")
	_ = p.end.Close()
	time.AfterFunc(5*time.Second, cancel) // the request ends unanswered
	if a := get(t, c); a.approved || a.err == nil {
		t.Errorf("hung up: %v, %v", a.approved, a.err)
	}
}

// What is said meanwhile stands above the question, which stays whole.
func TestWordsStandAboveTheQuestion(t *testing.T) {
	t.Parallel()
	terminal, p := sitDown(t)
	c := asks(t.Context(), terminal.Approver([]byte("x")), sheet("laptop", 60*time.Second))
	p.sees(" s left")
	terminal.Above(func() { terminal.write("vmux: Connected to desktop\n") })
	p.sees("vmux: Connected to desktop\r\n\rAnswer")
	p.keepsTyping("n", func() bool { return len(c) > 0 })
}

// On a terminal of 80 columns the line that is drawn each second does not wrap:
// it would fill the screen. Nor on a narrower one.
func TestQuestionFitsTheTerminal(t *testing.T) {
	t.Parallel()
	for _, columns := range []uint16{80, 20} {
		terminal, p := sitDown(t)
		if err := pty.Setsize(p.end, &pty.Winsize{Rows: 24, Cols: columns}); err != nil {
			t.Fatal(err)
		}
		s := sheet("laptop", 100*time.Second)
		c := asks(t.Context(), terminal.Approver([]byte("x")), s)
		p.sees("[y/n/m]")
		first := p.screen()
		waitFor(t, "another second", func() bool { return strings.Count(p.screen(), "\r") > strings.Count(first, "\r") })
		p.keepsTyping("n", func() bool { return len(c) > 0 })
		p.sees("Denied.")
		_, drawn, _ := strings.Cut(p.screen(), "m no and mute for an hour\r\n")
		drawn, _, _ = strings.Cut(drawn, "Denied.")
		for line := range strings.SplitSeq(drawn, "\r") {
			line, _, _ = strings.Cut(line, "\b")
			if len(line) >= int(columns) || strings.Contains(line, "\n") {
				t.Errorf("%d columns: %d: %q", columns, len(line), line)
			}
		}
	}
}
