package nativephone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"vmux/internal/control"
	"vmux/internal/signer"
	"vmux/internal/signer/backup"
	"vmux/internal/state"
)

const (
	socketName  = "control.sock"
	performPath = "/v1/perform/"
	attachPath  = "/v1/attach"
	// maxArguments bounds what a command sends, a backup most of all, written in base64.
	maxArguments = 2 * backup.MaxSize
	// sendTime is how long a command may take to send them.
	sendTime = 10 * time.Second
	// maxAnswer bounds what it is answered: the exported log, written in base64.
	maxAnswer = 4 * state.MaxFile
	// reachTime is how long a command waits for another one to end, and for a phone
	// that is being started or ended.
	reachTime = 10 * time.Second
	lookAgain = 25 * time.Millisecond
)

// Performer does one thing that a command wants of the phone, by its name, with
// arguments in JSON. What it returns is written as JSON.
type Performer func(ctx context.Context, p *Phone, name string, arguments []byte) any

// Remote is the phone that another process of this user runs.
type Remote struct{ http *http.Client }

// errNotBegun is the error of what another process was asked for and has not begun:
// it may be asked again.
var errNotBegun = errors.New("the phone is not running")

// Reach opens the phone as Open does, or else returns that of the process that runs
// it. It waits a moment for a process that does neither: a command that will end
// soon, a phone that is being started or ended. Where the path is too long for a
// socket, no phone can run, and commands do without. A state folder that cannot be written
// is opened to be read, if nobody runs the phone.
func Reach(ctx context.Context, home state.Home, doing string, approver signer.Approver, log *slog.Logger) (*Phone, *Remote, error) {
	socket, tooLong := home.PhoneSocket()
	for began := time.Now(); ; {
		p, err := Open(home, doing, approver, log)
		owned, isOwned := errors.AsType[*state.Owned](err)
		readOnly := errors.Is(err, state.ErrNoLock)
		if err == nil || !isOwned && !readOnly {
			return p, nil, err
		}
		r, unreachable := newRemote(socket), errNotBegun
		if tooLong == nil { // else no phone runs there
			unreachable = r.there(ctx)
		}
		silent := errors.Is(unreachable, context.DeadlineExceeded) && ctx.Err() == nil
		switch {
		case unreachable == nil:
			return nil, r, nil
		case !silent && !errors.Is(unreachable, errNotBegun):
			return nil, nil, unreachable
		case readOnly:
			p, err := read(home, err, log)
			return p, nil, err
		case silent, time.Since(began) > reachTime:
			return nil, nil, owned
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(lookAgain):
		}
	}
}

func read(home state.Home, why error, log *slog.Logger) (*Phone, error) {
	dir, err := home.Phone()
	if err != nil {
		return nil, err
	}
	return loadPhone(dir.ReadOnly(why), signer.Approver{}, log)
}

func newRemote(socket string) *Remote {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return control.Dial(ctx, socket, "phone") }
	return &Remote{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// there asks whether the phone answers.
func (r *Remote) there(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	answer, err := r.ask(ctx, "", nil)
	if err != nil {
		return err
	}
	return answer.Close()
}

// Perform has the phone do something and reads what came of it into answer. It reports
// whether that was begun; what was not can be asked for again, of whoever owns the
// state by then.
func (r *Remote) Perform(ctx context.Context, name string, arguments []byte, answer any) (begun bool, err error) {
	body, err := r.ask(ctx, name, arguments)
	if err != nil {
		return !errors.Is(err, errNotBegun), err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(answer); err != nil {
		if ctx.Err() != nil {
			return true, ctx.Err()
		}
		return true, fmt.Errorf("the phone has ended before it answered, and may have done it or not: %w", err)
	}
	return true, nil
}

// ask returns the body of the answer, which begins before the phone does.
func (r *Remote) ask(ctx context.Context, name string, arguments []byte) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://phone"+performPath+url.PathEscape(name), bytes.NewReader(arguments))
	if err != nil {
		return nil, err
	}
	answer, err := r.http.Do(request)
	var refused *control.Error
	switch {
	case errors.As(err, &refused):
		return nil, refused
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errNotBegun, err)
	case answer.StatusCode == http.StatusOK:
		return answer.Body, nil
	}
	defer answer.Body.Close()
	return nil, refusal(answer)
}

func refusal(answer *http.Response) error {
	refused := new(control.Error)
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxArguments)).Decode(refused); err != nil || refused.Code == "" {
		return fmt.Errorf("the phone answered %s", answer.Status)
	}
	return refused
}

// Attach brings a terminal to the phone: it returns the connection that was upgraded to the
// protocol.
func (r *Remote) Attach(ctx context.Context, protocol string) (io.ReadWriteCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://phone"+attachPath, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", protocol)
	answer, err := r.http.Do(request)
	if err != nil {
		return nil, err
	}
	if connection, ok := answer.Body.(io.ReadWriteCloser); ok && answer.StatusCode == http.StatusSwitchingProtocols {
		return connection, nil
	}
	defer answer.Body.Close()
	return nil, refusal(answer)
}

// serveCommands answers this user's commands until the presence ends.
func (o *presence) serveCommands(l net.Listener) error {
	m := http.NewServeMux()
	m.HandleFunc("POST "+performPath+"{$}", func(http.ResponseWriter, *http.Request) {}) // Remote.there
	m.HandleFunc("POST "+performPath+"{name}", o.perform)
	if o.config.Attach != nil {
		m.HandleFunc("POST "+attachPath, o.config.Attach)
	}
	return control.Server{Owner: "phone", Handler: m, MaxRequest: maxArguments, Patience: time.Minute, Log: o.config.Log}.Serve(o.ctx, l)
}

// perform tells that it begins by beginning to answer, once it has all of what was
// asked for. What is changed counts before the answer ends.
func (o *presence) perform(w http.ResponseWriter, r *http.Request) {
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(sendTime)) // a Unix socket has deadlines
	if r.ContentLength < 0 || r.ContentLength > maxArguments {
		http.Error(w, "too much", http.StatusRequestEntityTooLarge)
		return
	}
	arguments := make([]byte, r.ContentLength)
	defer clear(arguments) // a passphrase may be among them
	if _, err := io.ReadFull(r.Body, arguments); err != nil {
		http.Error(w, "not read", http.StatusBadRequest)
		return
	}
	_ = connection.SetReadDeadline(time.Time{}) // that the command leaves is read
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if connection.Flush() != nil {
		return // whoever asked has gone
	}
	answer := o.config.Perform(r.Context(), o.phone, r.PathValue("name"), arguments)
	o.tellChanges()
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(answer); err != nil {
		o.config.Log.Debug("the command has not read its answer", "error", err)
	}
}
