package hub

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"vmux/internal/device"
	"vmux/internal/link/hubwire"
)

// maxPublicKey bounds a SubjectPublicKeyInfo in bytes. That of a P-256 key has 91.
const maxPublicKey = 128

// Errors of a handshake, as the device reads them.
var (
	errMalformed = errors.New("malformed message")
	errBadKey    = errors.New("not a P-256 device key")
	errBadProof  = errors.New("the signature does not prove the device's key")
)

// serveDevice takes a device's WebSocket and lets it prove its ID. Then it
// returns: the HTTP server gives back all it held for the connection, whose
// reading goes on in a goroutine of its own, on a fresh stack.
func (h *Hub) serveDevice(w http.ResponseWriter, r *http.Request) {
	from := addressOf(r)
	if h.full() {
		w.Header().Set("Retry-After", "5")
		http.Error(w, errFull.Error(), http.StatusServiceUnavailable)
		return
	}
	place, wait, err := h.addresses.enter(from, h.now())
	if err != nil {
		status := http.StatusTooManyRequests
		if errors.Is(err, errFull) {
			status = http.StatusServiceUnavailable
		}
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		http.Error(w, err.Error(), status)
		return
	}
	defer h.addresses.leave(place)
	// A page of another origin has no business here, though it could prove
	// nothing: it has no device key for this origin.
	if origin := r.Header.Get("Origin"); origin != "" && !strings.EqualFold(origin, h.origin) {
		http.Error(w, "this hub is "+h.origin, http.StatusForbidden)
		return
	}
	u := &upgrade{ResponseWriter: w, start: h.start}
	ws, err := websocket.Accept(u, r, &websocket.AcceptOptions{
		Subprotocols: []string{hubwire.Subprotocol}, InsecureSkipVerify: true, // the origin is checked above
	})
	if err != nil {
		return // Accept has answered
	}
	c := &conn{hub: h, ws: ws, socket: u.socket, from: from, requests: rate.NewLimiter(rate.Every(requestsEvery), requestBurst)}
	h.addresses.held(place, c.socket.kill)
	if err := h.handshake(c); err != nil {
		h.refuse(c, err)
		return
	}
	h.addresses.held(place, nil) // it is proven
	if !h.enter(c) {
		c.refuse(websocket.StatusGoingAway, hubwire.CodeClosing, "the hub ends")
		return
	}
	go c.run()
}

// full reports whether there is no place for one more device.
func (h *Hub) full() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.local) >= h.limits.Devices || h.closing
}

// handshake lets a device prove its ID.
func (h *Hub) handshake(c *conn) error {
	if c.ws.Subprotocol() != hubwire.Subprotocol {
		return errMalformed
	}
	if err := c.socket.SetDeadline(time.Now().Add(h.limits.Handshake)); err != nil {
		return err
	}
	c.ws.SetReadLimit(hubwire.MaxMessage)
	challenge := make([]byte, hubwire.ChallengeSize)
	_, _ = rand.Read(challenge) // never fails
	hello := hubwire.Message{Type: hubwire.TypeChallenge, Challenge: challenge, Origin: h.origin}
	if err := c.writeNow(hello); err != nil {
		return err
	}
	typ, b, err := c.ws.Read(context.Background())
	if err != nil {
		return err
	}
	m, err := hubwire.ParseMessage(b)
	if typ != websocket.MessageText || err != nil || m.Type != hubwire.TypeProof {
		return errMalformed
	}
	if c.id, err = proven(h.origin, challenge, m); err != nil {
		return err
	}
	c.allow = newAllowList(c.id, m.Allow)
	return c.socket.SetDeadline(time.Time{})
}

// proven returns the ID of the device that has signed the challenge.
func proven(origin string, challenge []byte, m hubwire.Message) (device.ID, error) {
	if len(m.PublicKey) > maxPublicKey {
		return device.ID{}, errBadKey
	}
	key, err := x509.ParsePKIXPublicKey(m.PublicKey)
	if err != nil {
		return device.ID{}, errBadKey
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return device.ID{}, errBadKey
	}
	digest := sha256.Sum256(hubwire.SignedBytes(origin, challenge))
	if !ecdsa.VerifyASN1(public, digest[:], m.Signature) {
		return device.ID{}, errBadProof
	}
	return sha256.Sum256(m.PublicKey), nil
}

// refuse tells a connection why its handshake failed, and ends it.
func (h *Hub) refuse(c *conn, err error) {
	h.log.Debug("handshake failed", "reason", err)
	switch {
	case errors.Is(err, errMalformed):
		c.refuse(websocket.StatusPolicyViolation, hubwire.CodeMalformed, err.Error())
	case errors.Is(err, errBadProof), errors.Is(err, errBadKey):
		c.refuse(websocket.StatusPolicyViolation, hubwire.CodeBadProof, err.Error())
	default:
		_ = c.ws.CloseNow()
	}
}

// refuse ends a connection that no other goroutine knows of.
func (c *conn) refuse(status websocket.StatusCode, code hubwire.Code, message string) {
	_ = c.socket.SetDeadline(time.Now().Add(c.hub.limits.CloseTimeout))
	_ = c.writeNow(hubwire.Message{Type: hubwire.TypeError, Code: code, Message: message})
	_ = c.ws.Close(status, message)
}

func (c *conn) writeNow(m hubwire.Message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return c.ws.Write(context.Background(), websocket.MessageText, b)
}
