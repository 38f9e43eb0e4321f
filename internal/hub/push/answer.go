package push

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"vmux/internal/device"
)

const (
	// maxAnswer is how much of a push service's answer is read, maxReason how much
	// of it is told, in bytes.
	maxAnswer = 4 << 10
	maxReason = 200
	// maxHold bounds for how long a push service is believed that it wants no
	// more pushes.
	maxHold = 2 * time.Minute
)

// errNoAnswer is that a push service has not answered the first attempt.
var errNoAnswer = errors.New("no answer from the push service")

// answer is what a push service has said.
type answer struct {
	status     int
	reason     string        // for people; without the endpoint
	retryAfter time.Duration // usualPause where it says nothing
	clock      time.Time     // its Date; zero if it says none
	dropped    bool          // taken and thrown away, as Microsoft's service says in a header of its own
}

// readAnswer reads and closes the response. What is left unread costs the
// connection, no more.
func readAnswer(resp *http.Response, endpoint string, now time.Time) answer {
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	a := answer{status: resp.StatusCode, retryAfter: usualPause}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		a.clock = date
		now = date // a Retry-After with a date is by the same clock
	}
	if after := resp.Header.Get("Retry-After"); after != "" {
		if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
			a.retryAfter = time.Duration(seconds) * time.Second
		} else if date, err := http.ParseTime(after); err == nil {
			a.retryAfter = max(0, date.Sub(now))
		}
	}
	status := strings.ToLower(cmp.Or(resp.Header.Get("X-Wns-Status"), resp.Header.Get("X-Wns-Notificationstatus")))
	a.dropped = a.status/100 == 2 && (status == "dropped" || status == "channelthrottled")
	if a.status/100 != 2 || a.dropped {
		a.reason = reasonOf(body, resp.Header, endpoint)
	}
	return a
}

// limits reports whether there were too many pushes. Microsoft's service says
// that by 406.
func (a answer) limits() bool {
	return a.status == http.StatusTooManyRequests || a.status == http.StatusNotAcceptable
}

// again reports whether a second attempt can have another answer.
func (a answer) again() bool {
	return a.limits() || a.status >= 500 || a.status == http.StatusRequestTimeout || a.status == http.StatusTooEarly
}

// unauthorized reports whether the token was not believed.
func (a answer) unauthorized() bool {
	return a.status == http.StatusUnauthorized || a.status == http.StatusForbidden
}

// otherKeys is how the services of Apple (400), Google (403) and Mozilla (401) say that a
// subscription was made with other VAPID keys than this hub's.
var otherKeys = regexp.MustCompile(`(?i)VapidPkHashMismatch|public key mismatch|not correspond to the (credentials|sender ID)`)

// dead reports whether no push will ever be taken for this subscription.
func (a answer) dead() bool {
	return a.status == http.StatusNotFound || a.status == http.StatusGone ||
		(a.status == http.StatusBadRequest || a.unauthorized()) && otherKeys.MatchString(a.reason)
}

// longToken is what could be a secret: services write tokens into their errors.
var longToken = regexp.MustCompile(`[A-Za-z0-9_~+/=%-]{32,}`)

// reasonOf is what the service says of why: in JSON (Apple: reason; Mozilla:
// message), as text (Google), or in headers of its own (Microsoft). It goes to
// logs and to computers, so that the endpoint, which is a secret, is taken out.
func reasonOf(body []byte, header http.Header, endpoint string) string {
	var said struct{ Reason, Message string }
	text := string(bytes.ToValidUTF8(body, nil))
	if json.Unmarshal(body, &said) == nil {
		text = cmp.Or(said.Reason, said.Message, text)
	}
	for _, name := range []string{"X-Wns-Status", "X-Wns-Notificationstatus", "X-Wns-Error-Description"} {
		if value := header.Get(name); value != "" && !strings.Contains(text, value) {
			text += " " + value
		}
	}
	for _, secret := range secretsOf(endpoint) {
		text = strings.ReplaceAll(text, secret, "…")
	}
	text = longToken.ReplaceAllString(text, "…")
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

// secretsOf are the parts of an endpoint's URL that are not to be told, each as
// it stands in the URL and as it reads.
func secretsOf(endpoint string) []string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return []string{endpoint}
	}
	secrets := []string{endpoint, u.RequestURI()}
	parts := strings.FieldsFunc(u.EscapedPath()+"&"+u.RawQuery, func(r rune) bool { return strings.ContainsRune("/&=?", r) })
	for _, part := range parts {
		if len(part) < 8 { // of "wpush", "v2", "send"
			continue
		}
		secrets = append(secrets, part)
		if plain, err := url.PathUnescape(part); err == nil {
			secrets = append(secrets, plain)
		}
		if plain, err := url.QueryUnescape(part); err == nil {
			secrets = append(secrets, plain)
		}
	}
	return secrets
}

// serviceOf is the endpoint's host if it is of a known push service, for logs.
func serviceOf(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && isKnown(endpoint) {
		return u.Hostname()
	}
	return "other"
}

// hold keeps pushes for the device back for a while.
func (s *Service) hold(id device.ID, d time.Duration) {
	if d <= usualPause {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for other, until := range s.holds {
		if !until.After(now) || until.Sub(now) > maxHold { // over, or the clock was set back
			delete(s.holds, other)
		}
	}
	if len(s.holds) < maxBuckets {
		s.holds[id] = now.Add(min(d, maxHold))
	}
}

// release ends that: the device has another subscription.
func (s *Service) release(id device.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.holds, id)
}

// held reports whether pushes for the device are kept back.
func (s *Service) held(id device.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.holds[id].Sub(s.now())
	return left > 0 && left <= maxHold
}
