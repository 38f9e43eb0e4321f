package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"vmux/internal/agent/client"
	"vmux/internal/agent/journal"
	"vmux/internal/agent/keys"
	"vmux/internal/agent/origin"
	"vmux/internal/control"
	"vmux/internal/device"
	"vmux/internal/sshagent"
	"vmux/internal/sshctx"
	"vmux/internal/wire"
)

// Sign implements sshagent.Backend: it asks the phones that hold the key. It
// returns soon after ctx ends, which withdraws the request. Every error is one
// failure to the client; its reason is kept for the status.
func (a *Agent) Sign(ctx context.Context, r sshagent.SignRequest) ([]byte, error) {
	line := a.lineOf(r.Connection)
	signature, err := a.sign(ctx, r, line)
	line.End(outcome(ctx, err))
	return signature, err
}

func (a *Agent) sign(ctx context.Context, r sshagent.SignRequest, line *client.Line) ([]byte, error) {
	id := a.keyOf(r)
	switch {
	case id == nil && a.upstream != nil && !a.wasOwn(r):
		return a.signUpstream(ctx, r)
	case id == nil:
		return nil, a.failSign(nil, sshctx.Context{}, wire.Errorf(wire.CodeKeyNotFound, "No such identity, or the session certificate has expired."))
	}
	about := describe(r.Data)
	a.memory.Asked(r.Connection) // also where it is refused: the server has taken the key
	if err := origin.Check(r, about); err != nil {
		return nil, a.failSign(id, about, err)
	}
	a.clients.NoteLogin(r.Connection, about)
	login := a.memory.Client(r.Connection) // the program may be gone as soon as it is answered
	if code := a.denied.Before(r, about, id.Phones); code != "" {
		a.notAsked(id, about, code)
		return nil, wire.NewError(code)
	}
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	default:
		return nil, a.failSign(id, about, wire.Errorf(wire.CodeSignerBusy, "Too many requests are waiting for a phone."))
	}
	signature, phone, err := a.askSignature(ctx, id, r, about, login, line)
	switch {
	case err == nil:
		a.memory.KeySigned(r, about, id.PublicKeyBlob, login.Wait(), listed(a.snapshot.Load().session))
		a.log.Info("signed", "key", id.Fingerprint, "phone", phone.Short())
		a.journal.Succeed(journal.KindSign, "Signed by "+requested(id, about))
		return signature, nil
	case ctx.Err() != nil:
		a.log.Info("signature withdrawn: the client went away", "key", id.Fingerprint)
		a.journal.Note(journal.KindSign, requested(id, about)+": withdrawn, since the SSH client went away", "")
		return nil, err
	}
	a.denied.Note(r, about, a.speaksForNone(id), wire.CodeOf(err))
	return nil, a.failSign(id, about, err)
}

// keyOf returns the identity that a client names, or nil. A certificate over a phone-held
// key, by whatever CA, names that key, as a file of it does for `ssh-keygen -Y sign`; but not
// one that the upstream agent has.
func (a *Agent) keyOf(r sshagent.SignRequest) *keys.Key {
	s := a.snapshot.Load()
	if id := s.byBlob[string(r.Blob)]; id != nil {
		return id
	}
	if r.Listed != nil && slices.ContainsFunc(r.Listed.Identities(), func(id sshagent.Identity) bool { return string(id.Blob) == string(r.Blob) }) {
		return nil
	}
	return s.byBlob[string(sshctx.PlainKey(r.Blob))]
}

// notAsked tells why a request has failed without a sheet. It is no desktop
// notification: the one of the first failure has just been shown.
func (a *Agent) notAsked(id *keys.Key, about sshctx.Context, code wire.Code) {
	a.log.Info("not asked again", "key", id.Fingerprint, "code", code)
	why := "denied just before"
	if code != wire.CodeUserDenied {
		why = "this login had no answer for another key"
	}
	a.journal.Note(journal.KindSign, requested(id, about)+": not asked again, "+why, code)
}

// speaksForNone are the phones that were asked for the key, nil if one of them has
// proven it.
func (a *Agent) speaksForNone(id *keys.Key) []device.ID {
	asked := append([]device.ID{}, a.stillPaired(id.Phones)...) // not nil
	if slices.ContainsFunc(asked, func(phone device.ID) bool { return a.keys.Proven(phone, id.PublicKeyBlob) }) {
		return nil
	}
	return asked
}

// describe reads what is to be signed. What it cannot read stays empty.
func describe(data []byte) sshctx.Context {
	c, err := sshctx.Parse(data)
	if err != nil {
		return sshctx.Context{}
	}
	return c
}

func (a *Agent) askSignature(ctx context.Context, id *keys.Key, r sshagent.SignRequest, about sshctx.Context, login *client.Reading[client.Login], line *client.Line) ([]byte, device.ID, error) {
	now := time.Now()
	request := &wire.RemoteSignRequest{
		Asking:         a.asking(now),
		KeyAlgorithm:   id.Algorithm,
		PublicKeyBlob:  id.PublicKeyBlob,
		SignatureFlags: r.Flags,
		Origin:         wire.Origin,
		DataToSign:     r.Data,
		Context:        a.contextOf(r, about, login),
		Bindings:       origin.Marshal(r.Bindings),
	}
	waiting, holders := waitingSign(request, id, about), a.stillPaired(id.Phones)
	done := a.journal.Wait(waiting)
	defer done()
	line.Draw(func(now time.Time) string { return a.hintText(waiting, holders, now) })
	// A phone can list any public key: it must not speak for one that another
	// phone has. Of a single phone nobody else could answer.
	decides := func(phone device.ID) bool { return len(holders) == 1 || a.keys.Proven(phone, id.PublicKeyBlob) }
	q := question[[]byte]{
		phones: holders, kind: wire.KindSignRequest, asking: request.Asking,
		body: func(asking wire.Asking) any {
			again := *request
			again.Asking = asking
			return &again
		},
		shown: func() { a.shown(request.RequestID) },
		accept: func(from device.ID, e wire.Envelope, asked wire.Asking) ([]byte, error) {
			signature, err := a.acceptSignature(id, r, asked, from, e)
			if err != nil && wire.IsDecision(err) && !decides(from) {
				a.goesOn(id, about, from, err)
			}
			return signature, err
		},
		decides: decides,
	}
	a.log.Info("signature asked for", "request", request.RequestID, "key", id.Fingerprint, "kind", about.Kind)
	return ask(ctx, a, q)
}

// acceptSignature verifies what a phone has sent: a phone that errs must not
// make a client or a server believe that the user's key is broken.
func (a *Agent) acceptSignature(id *keys.Key, r sshagent.SignRequest, asked wire.Asking, from device.ID, e wire.Envelope) ([]byte, error) {
	var answer wire.SignResponse
	if err := wire.DecodeBody(e, &answer); err != nil {
		return nil, err
	}
	if answer.RequestID != asked.RequestID {
		return nil, wire.Errorf(wire.CodeMalformedRequest, "The phone answered another request.")
	}
	if answer.Error != nil {
		return nil, a.refusal(answer.Error, asked)
	}
	if err := checkSignature(id.Public, r.Data, answer.Signature, r.Flags); err != nil {
		a.log.Error("signature refused", "request", asked.RequestID, "phone", from.Short(), "error", err)
		return nil, wire.Errorf(wire.CodeInternalError, "The phone's signature does not verify.")
	}
	a.prove(from, id)
	return answer.Signature, nil
}

// prove remembers that the phone has signed by the key. No signature waits for the
// disk.
func (a *Agent) prove(phone device.ID, id *keys.Key) {
	if a.keys.Prove(phone, id.PublicKeyBlob) {
		a.rebuild()
		a.tasks.run(func(context.Context) { a.saveKeys() })
	}
}

// stillPaired leaves out phones that are no longer trusted.
func (a *Agent) stillPaired(holders []device.ID) []device.ID {
	return slices.DeleteFunc(slices.Clone(holders), func(id device.ID) bool { return a.notPaired(id) != nil })
}

func waitingSign(r *wire.RemoteSignRequest, id *keys.Key, about sshctx.Context) control.Request {
	w := control.Request{
		RequestID: r.RequestID, Kind: journal.KindSign, Identity: id.Comment, Fingerprint: id.Fingerprint,
		Detail: detail(about), Since: time.UnixMilli(r.IssuedAtMilliseconds), Until: r.ExpiresAt(),
	}
	if len(r.Context.Programs) > 0 {
		if w.Program = r.Context.Programs[0]; r.Context.Account != "" {
			w.Program += ", run by " + r.Context.Account
		}
	}
	return w
}

// detail is what the signed bytes say, for people.
func detail(about sshctx.Context) string {
	switch {
	case about.IsLogin():
		return "login as " + wire.Show(about.User)
	case about.Kind == sshctx.SSHSIG:
		return "signature for " + wire.Show(about.Namespace)
	case about.Kind == sshctx.Sudo:
		return fmt.Sprintf("%s by %s on %s, as that host says", wire.Show(about.Challenge.Program), wire.Show(about.User), wire.Show(about.Challenge.Host))
	}
	return ""
}

// goesOn tells that a phone's refusal does not end the request.
func (a *Agent) goesOn(id *keys.Key, about sshctx.Context, phone device.ID, err error) {
	a.log.Warn("refused by a phone that has not signed by this key yet: others are asked still", "key", id.Fingerprint, "phone", phone.Short(), "code", wire.CodeOf(err))
	a.journal.Note(journal.KindSign, fmt.Sprintf("%s: refused by %s, which has not signed by this key yet: others are asked still", requested(id, about), a.nameOf(phone)), "")
}

// failSign keeps the reason and returns the error.
func (a *Agent) failSign(id *keys.Key, about sshctx.Context, err error) error {
	text := ""
	if id != nil {
		text = requested(id, about)
	}
	a.journal.Fail(journal.KindSign, text, err)
	return err
}

// requested is the key, and what the bytes say, for people.
func requested(id *keys.Key, about sshctx.Context) string {
	if d := detail(about); d != "" {
		return id.Comment + ": " + d
	}
	return id.Comment
}
