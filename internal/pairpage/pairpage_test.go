package pairpage

import (
	"bytes"
	"context"
	"errors"
	"html"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"vmux/internal/control"
)

const invitation = "https://hub.example/#v=1&s=secret"

// agent invites once, and pairs when it is told to.
type agent struct {
	paired chan struct{}
	failed error
}

func (a agent) invite(ctx context.Context, _ control.PairOptions, each func(control.PairEvent) error) error {
	i := control.Invitation{URL: invitation, Hub: "https://hub.example", DeviceID: "abcdefgh", Expires: time.Now()}
	if err := each(control.PairEvent{Invitation: &i}); err != nil {
		return err
	}
	select {
	case <-a.paired:
		if a.failed != nil {
			return a.failed
		}
		return each(control.PairEvent{Paired: &control.Device{Name: "my <phone>"}})
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shown is a page that is open in a browser.
type shown struct {
	t      *testing.T
	agent  agent
	url    string
	result chan error
	client http.Client
}

func show(t *testing.T, failed error) *shown {
	t.Helper()
	s := &shown{t: t, agent: agent{make(chan struct{}), failed}, result: make(chan error, 1)}
	s.client.Transport = &http.Transport{DisableKeepAlives: true}
	url := make(chan string, 1)
	go func() {
		_, err := Show(t.Context(), s.agent.invite, func(u string) error { url <- u; return nil })
		s.result <- err
	}()
	s.url = <-url
	return s
}

// ask returns the answer to a request, with another host's name if one is given.
func (s *shown) ask(ctx context.Context, method, url, host string) (status int, header http.Header, body string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, nil, err.Error()
	}
	return answer.StatusCode, answer.Header, string(b)
}

// waitURL is where the page's script asks how it ended.
func (s *shown) waitURL(page string) string {
	s.t.Helper()
	found := regexp.MustCompile(`fetch\("([^"]+)"`).FindStringSubmatch(page)
	if found == nil {
		s.t.Fatalf("no script in %s", page)
	}
	return s.url[:strings.LastIndex(s.url, "/")] + strings.ReplaceAll(found[1], `\/`, "/")
}

func TestPageEndsWithThePairing(t *testing.T) {
	for _, test := range []struct {
		failed error
		want   string
	}{
		{nil, "Paired with my <phone>. You can close this page."},
		{errors.New("No phone came in time."), "Not paired: No phone came in time."},
	} {
		s := show(t, test.failed)
		status, header, page := s.ask(t.Context(), http.MethodGet, s.url, "")
		if status != http.StatusOK || !strings.Contains(page, html.EscapeString(invitation)) || !strings.Contains(page, "<svg") ||
			!strings.Contains(page, `<meta name="darkreader-lock">`) || // it would turn the code's colours
			!strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%d, %v, %s", status, header, page)
		}
		outcome := make(chan string, 1)
		go func() {
			_, _, text := s.ask(t.Context(), http.MethodPost, s.waitURL(page), "")
			outcome <- text
		}()
		close(s.agent.paired)
		if got := <-outcome; got != test.want {
			t.Errorf("the page says %q, want %q", got, test.want)
		}
		if err := <-s.result; !errors.Is(err, test.failed) {
			t.Error(err)
		}
		if status, _, _ := s.ask(t.Context(), http.MethodGet, s.url, ""); status != 0 {
			t.Errorf("served after the end: %d", status)
		}
	}
}

// An attacker's page in the same browser reaches the loopback by a name of its own, and
// guesses paths: it learns nothing, and the page is still there for the person.
func TestOthersLearnNothing(t *testing.T) {
	s := show(t, nil)
	root := s.url[:strings.LastIndex(s.url, "/")]
	for _, try := range []struct{ method, url, host string }{
		{http.MethodGet, s.url, "attacker.example"},
		{http.MethodGet, s.url, "localhost"},
		{http.MethodGet, root + "/", ""},
		{http.MethodGet, root + "/index.html", ""},
		{http.MethodPost, s.url, ""},
		{http.MethodHead, s.url, ""},
	} {
		status, _, body := s.ask(t.Context(), try.method, try.url, try.host)
		if status != http.StatusForbidden && status != http.StatusNotFound || strings.Contains(body, "secret") {
			t.Errorf("%+v: %d, %s", try, status, body)
		}
	}
	if status, _, page := s.ask(t.Context(), http.MethodGet, s.url, ""); status != http.StatusOK || !strings.Contains(page, "secret") {
		t.Errorf("the person's own page: %d", status)
	}
	close(s.agent.paired)
	if err := <-s.result; err != nil {
		t.Error(err)
	}
}

// Who has read the URL before the person's browser came has seen the invitation. The
// person's browser comes second: then it must be worth nothing.
func TestSecondLookEndsTheInvitation(t *testing.T) {
	s := show(t, nil)
	s.ask(t.Context(), http.MethodGet, s.url, "")
	status, _, page := s.ask(t.Context(), http.MethodGet, s.url, "")
	if status != http.StatusGone || strings.Contains(page, "secret") {
		t.Errorf("%d, %s", status, page)
	}
	if err := <-s.result; !errors.Is(err, errTwice) {
		t.Error(err)
	}
}

func TestClosedPageEndsTheInvitation(t *testing.T) {
	s := show(t, nil)
	_, _, page := s.ask(t.Context(), http.MethodGet, s.url, "")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.waitURL(page), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.client.Do(r) // returns with the head
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if err := <-s.result; !errors.Is(err, errClosed) {
		t.Error(err)
	}
}

func TestNoBrowserEndsTheInvitation(t *testing.T) {
	none := errors.New("no browser")
	a := agent{make(chan struct{}), nil}
	if _, err := Show(t.Context(), a.invite, func(string) error { return none }); !errors.Is(err, none) {
		t.Error(err)
	}
}

// An invitation that is too long for a code is shown as text.
func TestNoCode(t *testing.T) {
	var b bytes.Buffer
	i := control.Invitation{URL: "https://hub.example/#" + strings.Repeat("x", 1<<13), Hub: "https://hub.example", HubError: "away"}
	if err := document.Execute(&b, contentOf(i, "/wait", "nonce")); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<svg") || !strings.Contains(b.String(), i.URL) || !strings.Contains(b.String(), "cannot be reached") {
		t.Error(b.String()[:200])
	}
}
