package asking

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"vmux/internal/control"
	"vmux/internal/desktop"
	"vmux/internal/device"
	"vmux/internal/nativephone/remember"
	"vmux/internal/nativephone/terminal"
	"vmux/internal/signer"
	"vmux/internal/sshctx"
	"vmux/internal/testkit"
	"vmux/internal/wire"
)

// patience bounds every wait.
const patience = 60 * time.Second

// person sits at a terminal in memory: what is typed is read, what is written is seen.
type person struct {
	t    *testing.T
	mu   sync.Mutex
	typd []byte
	seen strings.Builder
	left bool

	ended chan struct{} // closed when Attach has returned err
	err   error
}

func (p *person) Keystrokes() (func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.typd = nil
	return func() {}, nil
}

func (p *person) ReadKeys(b []byte) (n int, err error) {
	for range 2 {
		p.mu.Lock()
		n = copy(b, p.typd)
		p.typd = p.typd[n:]
		left := p.left
		p.mu.Unlock()
		if left {
			return 0, io.EOF
		}
		if n > 0 {
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	return n, nil
}

func (p *person) Columns() int { return 80 }

func (p *person) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.Write(b)
}

func (p *person) types(keys string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.typd = append(p.typd, keys...)
}

func (p *person) screen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.String()
}

func (p *person) sees(text string) { p.seesTimes(text, 1) }

func (p *person) seesTimes(text string, n int) {
	p.t.Helper()
	testkit.WaitFor(p.t, text, func() bool { return strings.Count(p.screen(), text) >= n })
}

// answers types a key until done, each time after a moment in which a sheet takes none.
func (p *person) answers(key string, done func() bool) {
	p.t.Helper()
	typed := time.Now()
	testkit.WaitFor(p.t, "an answer to "+key, func() bool {
		if !done() && time.Since(typed) > 900*time.Millisecond {
			p.types(key)
			typed = time.Now()
		}
		return done()
	})
}

// phone is what asks.
type phone struct {
	t         *testing.T
	terminals *Terminals
	approver  signer.Approver
	socket    string
	stop      func()
}

func newPhone(t *testing.T) *phone {
	p := &phone{t: t, socket: filepath.Join(t.TempDir(), "s")}
	p.terminals = New(Config{
		Make: func(t *terminal.Terminal) signer.Approver {
			t.Memory = remember.New(time.Hour)
			t.Lock = func() { p.terminals.Forget() }
			return t.Approver(nil)
		},
		Name: func() string { return "phone" },
	})
	p.approver = p.terminals.Approver()
	l, err := control.Listen(p.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- control.Server{Owner: "phone", Handler: http.HandlerFunc(p.terminals.Serve), MaxRequest: 1 << 10, Patience: patience, Log: slog.New(slog.DiscardHandler)}.Serve(ctx, l)
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(p.stop)
	return p
}

// dial is a connection to the phone that was upgraded.
func (p *phone) dial() net.Conn {
	p.t.Helper()
	conn, err := control.Dial(p.t.Context(), p.socket, "phone")
	if err == nil {
		_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: phone\r\nConnection: Upgrade\r\nUpgrade: "+Protocol+"\r\n\r\n")
	}
	if err != nil {
		p.t.Fatal(err)
	}
	var head []byte
	for one := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, one[0]) {
		if _, err := conn.Read(one); err != nil {
			p.t.Fatal(err)
		}
	}
	if !strings.HasPrefix(string(head), "HTTP/1.1 101 ") {
		p.t.Fatalf("%q", head)
	}
	return conn
}

// attach brings a person to the phone.
func (p *phone) attach() (who *person, detach func() error) {
	p.t.Helper()
	who = &person{t: p.t}
	ctx, cancel := context.WithCancel(context.Background())
	who.ended = make(chan struct{})
	conn := p.dial()
	go func() {
		defer close(who.ended)
		who.err = Attach(ctx, who, conn)
	}()
	detach = func() error {
		cancel()
		<-who.ended
		return who.err
	}
	p.t.Cleanup(func() { _ = detach() })
	who.sees("Attached to the phone phone.")
	return who, detach
}

// own is the phone's own terminal.
func (p *phone) own() *person {
	who := &person{t: p.t}
	t := terminal.New(who)
	p.terminals.Own(t)
	p.t.Cleanup(t.Close)
	return who
}

// asks asks for a signature, and for the passphrase when that is approved.
func (p *phone) asks(ctx context.Context, id string) <-chan string {
	sheet := signer.SignSheet{
		Sheet: signer.Sheet{
			RequestID: id, From: device.Peer{ID: device.ID{1}, Name: wire.Clean("laptop")}, Label: wire.Clean("work"), Expires: time.Now().Add(patience), Shown: func() {},
		},
		Fingerprint: "SHA256:abc", Known: sshctx.Context{Kind: sshctx.HostBound, User: id, HostKey: []byte("host")},
	}
	answer := make(chan string, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		d, err := p.approver.Sign(ctx, sheet)
		if err != nil || !d.Approved {
			answer <- "no"
			return
		}
		how := "typed "
		r := signer.PassphraseRequest{Label: sheet.Label, Key: sheet.Fingerprint, Attempt: 1, RequestID: id, From: sheet.From.ID, Remembered: func() { how = "remembered " }}
		secret, err := p.approver.Passphrase(ctx, r)
		if err != nil {
			answer <- "no passphrase: " + err.Error()
			return
		}
		if how == "typed " {
			p.approver.Unlocked(r, secret)
		}
		answer <- how + string(secret)
	}()
	return answer
}

func (p *phone) gets(answer <-chan string, want string) {
	p.t.Helper()
	select {
	case got := <-answer:
		if got != want {
			p.t.Errorf("answered %q, want %q", got, want)
		}
	case <-time.After(patience):
		p.t.Fatal("no answer")
	}
}

// A phone that runs as a service has no terminal. Its requests wait for one, and move with
// the person: from the own terminal to the one that is attached, to the next one, and back.
func TestRequestGoesToTheTerminalThatIsAttached(t *testing.T) {
	t.Parallel()
	p := newPhone(t)
	answer := p.asks(t.Context(), "root")
	if p.terminals.Asked() {
		t.Error("it asks though there is no terminal")
	}
	first, _ := p.attach()
	first.sees("laptop asks: ")
	second, leave := p.attach()
	second.sees("laptop asks: ")
	first.sees("Another terminal was attached: this one is detached.")
	if <-first.ended; !errors.Is(first.err, ErrEnded) {
		t.Errorf("the first has ended with %v", first.err)
	}
	if err := leave(); err != nil {
		t.Error(err)
	}
	own := p.own()
	own.sees("laptop asks: ")
	third, leave := p.attach()
	own.sees("Asked at another terminal now: vmux phone attach.")
	third.sees("laptop asks: ")
	own.types("y") // where nobody is asked
	if err := leave(); err != nil {
		t.Error(err)
	}
	own.seesTimes("laptop asks: ", 2)
	own.answers("y", func() bool { return strings.Contains(own.screen(), "Passphrase of work: ") })
	own.types("\x15secret\n") // ^U: the last y may have come late
	p.gets(answer, "typed secret")
}

// What was typed before a question stands is none of its answers.
func TestKeysTypedBeforeAQuestionAreThrownAway(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	d := &attachedDevice{connection: near, deadline: near.SetWriteDeadline, came: make(chan struct{}, 1)}
	read := func(want string) {
		t.Helper()
		b := make([]byte, 64)
		if n, err := d.ReadKeys(b); err != nil || string(b[:n]) != want {
			t.Errorf("%q is read, want %q: %v", b[:n], want, err)
		}
	}
	d.take([]byte("yes"))
	if _, err := d.Keystrokes(); err != nil {
		t.Error(err)
	}
	read("")
	for range 3 * maxTyped / maxKeys {
		d.take([]byte(strings.Repeat("y", maxKeys)))
	}
	if len(d.typed) != maxTyped || cap(d.typed) != maxTyped {
		t.Errorf("%d keys wait, in a buffer of %d", len(d.typed), cap(d.typed))
	}
	read(strings.Repeat("y", 64))
	_ = far.Close()
	if _, err := d.Write([]byte("asked")); err == nil {
		t.Error("written to nobody")
	}
	if _, err := d.ReadKeys(make([]byte, 64)); !errors.Is(err, errGone) || len(d.typed) > 0 && d.typed[0] != 0 {
		t.Errorf("after it has gone: %v, %q", err, d.typed)
	}
	if _, err := d.Keystrokes(); !errors.Is(err, terminal.ErrHungUp) {
		t.Errorf("asked after it has gone: %v", err)
	}
}

// Another program of the same user's attaches a terminal: it is asked, and can deny, but
// what was typed at the person's is not remembered there, nor for a request of theirs.
func TestPassphraseIsRememberedAtItsTerminalAlone(t *testing.T) {
	t.Parallel()
	p := newPhone(t)
	own := p.own()
	approve := func(who *person, id string) <-chan string {
		t.Helper()
		sheets, n := strings.Count(who.screen(), "laptop asks: "), strings.Count(who.screen(), "Approved.")
		answer := p.asks(t.Context(), id)
		who.seesTimes("laptop asks: ", sheets+1)
		who.answers("y", func() bool { return strings.Count(who.screen(), "Approved.") > n })
		return answer
	}
	answer := approve(own, "first")
	own.sees("Passphrase of work: ")
	own.types("\x15secret\n")
	p.gets(answer, "typed secret")
	own.sees("Unlocked for 60 min. l locks")
	p.gets(approve(own, "second"), "remembered secret")
	own.sees("  unlocked  for 60 min: no passphrase is asked for; l locks\n")

	attacker, leave := p.attach()
	own.sees("Another terminal was attached, and is asked now.")
	answer = approve(attacker, "third")
	attacker.sees("Passphrase of work: ")
	if strings.Contains(attacker.screen(), "unlocked") {
		t.Error("the attacker's sheet says that no passphrase is asked for")
	}
	if err := leave(); err != nil { // that the person's terminal would be asked
		t.Error(err)
	}
	p.gets(answer, "no passphrase: the terminal is gone: it was detached")

	own.sees("The other terminal was detached: this one is asked again.")
	const offer = "Unlocked for 60 min. l locks"
	offered := strings.Count(own.screen(), offer)
	p.gets(approve(own, "fourth"), "remembered secret")
	own.seesTimes(offer, offered+1)
	own.answers("l", func() bool { return strings.Contains(own.screen(), "Locked: each passphrase is asked for again.") })
	answer = approve(own, "fifth")
	own.seesTimes("Passphrase of work: ", 2)
	own.types("\x15secret\n")
	p.gets(answer, "typed secret")
	if n := p.terminals.Forget(); n != 1 {
		t.Errorf("%d passphrases were remembered", n)
	}
	answer = approve(own, "sixth")
	own.seesTimes("Passphrase of work: ", 3)
	own.types("\x15secret\n")
	p.gets(answer, "typed secret")
}

// The key l on a sheet locks, and answers nothing.
func TestLockOnASheet(t *testing.T) {
	t.Parallel()
	p := newPhone(t)
	who, _ := p.attach()
	for range 2 {
		answer := p.asks(t.Context(), "root")
		who.sees("laptop asks: ")
		n := strings.Count(who.screen(), "Passphrase of work: ")
		if n > 0 {
			who.sees("  unlocked  for 60 min")
			who.answers("l", func() bool { return strings.Contains(who.screen(), "Locked: the passphrase will be asked for.") })
		}
		who.answers("y", func() bool { return strings.Count(who.screen(), "Passphrase of work: ") > n })
		who.types("\x15secret\n")
		p.gets(answer, "typed secret")
	}
}

// A terminal that does not read, since it was stopped or what it stands on is gone, keeps
// nobody waiting for ever (tmux pull request 5444): another one is asked.
func TestTerminalThatDoesNotReadIsLeft(t *testing.T) {
	t.Parallel()
	p := newPhone(t)
	stuck := p.dial()
	defer stuck.Close()
	if _, err := stuck.Write([]byte{frameColumns, 0, 80}); err != nil {
		t.Fatal(err)
	}
	testkit.WaitFor(t, "the terminal", p.terminals.Asked)
	testkit.WaitFor(t, "it to be left", func() bool {
		p.terminals.Say(strings.Repeat("x", 1<<16))
		return !p.terminals.Asked()
	})
}

// What is not of the protocol ends the connection, and approves nothing.
func TestHostileTerminals(t *testing.T) {
	t.Parallel()
	p := newPhone(t)
	answer := p.asks(t.Context(), "root")
	for _, sent := range []string{
		"", "k", "y\x00\x01y", "\x00\x00\x00", "k\xff\xffyyyy", "c\x00\x50k\x00\x41" + strings.Repeat("y", 65), "c\x00\x50k\x00\x02y",
		"c\xff\xffx\x00\x00", "c\x00\x00k\x00\x01y", "GET / HTTP/1.1\r\n\r\n",
	} {
		conn := p.dial()
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(conn) // until it is ended
		conn.Close()
	}
	for _, head := range []string{"POST / HTTP/1.1\r\nHost: phone\r\n\r\n", "POST / HTTP/1.1\r\nHost: phone\r\nOrigin: https://evil.example\r\nUpgrade: " + Protocol + "\r\n\r\n"} {
		conn, err := control.Dial(t.Context(), p.socket, "phone")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64)
		if n, err := conn.Read(b); err != nil || strings.Contains(string(b[:n]), " 101 ") {
			t.Errorf("%q: %q, %v", head, b[:n], err)
		}
		conn.Close()
	}
	if len(answer) > 0 {
		t.Errorf("answered %q", <-answer)
	}
	who, _ := p.attach()
	who.sees("laptop asks: ")
	p.stop()
	who.sees("The phone has ended.")
}

// screen is a desktop that shows notifications.
type screen struct{ shown, closed chan string }

func (s screen) Show(_ context.Context, _, text string) (uint32, error) {
	s.shown <- text
	return 1, nil
}

func (s screen) Close(context.Context, uint32) error {
	s.closed <- "closed"
	return nil
}

func TestNotificationGoesWithItsRequest(t *testing.T) {
	t.Parallel()
	p := newPhone(t)
	s := screen{make(chan string, 1), make(chan string, 1)}
	n := desktop.New(s, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx) })
	p.approver = Notifying(p.approver, n, func() string { return "\nvmux phone attach" })
	request, withdraw := context.WithCancel(t.Context())
	answer := p.asks(request, "root")
	if got, want := <-s.shown, "laptop asks: "; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\nvmux phone attach") {
		t.Errorf("shown: %q", got)
	}
	withdraw()
	p.gets(answer, "no")
	<-s.closed
	cancel()
	running.Wait()
}
