package browser

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"vmux/internal/testkit"
)

// command is one of WebDriver's, as its two protocols call it: Marionette by
// name, HTTP by method and path below the session.
type command struct{ name, method, path string }

// Of https://www.w3.org/TR/webdriver2/ and, the last ones,
// https://www.w3.org/TR/webauthn-3/#sctn-automation.
var (
	toURL               = command{"WebDriver:Navigate", "POST", "/url"}
	execute             = command{"WebDriver:ExecuteScript", "POST", "/execute/sync"}
	screenshot          = command{"WebDriver:TakeScreenshot", "GET", "/screenshot"}
	newSession          = command{"WebDriver:NewSession", "POST", ""}
	windowHandles       = command{"WebDriver:GetWindowHandles", "GET", "/window/handles"}
	switchToWindow      = command{"WebDriver:SwitchToWindow", "POST", "/window"}
	addAuthenticator    = command{"WebAuthn:AddVirtualAuthenticator", "POST", "/webauthn/authenticator"}
	removeAuthenticator = command{"WebAuthn:RemoveVirtualAuthenticator", "", ""} // WebKitGTK has none
)

// session is one of WebDriver's, by either protocol. Elements are by WebDriver's names.
type session interface {
	// send returns the value of the answer.
	send(c command, parameters map[string]any) (json.RawMessage, error)
	clickOn(element string) error
	typeInto(element, text string) error
}

// failed is the error that an answer of WebDriver tells.
func failed(text json.RawMessage) error {
	var e struct{ Error, Message string }
	if err := json.Unmarshal(text, &e); err != nil || e.Error == "" {
		return fmt.Errorf("%s", strings.TrimSpace(string(text)))
	}
	return fmt.Errorf("%s: %s", e.Error, e.Message)
}

// Remote is a page in a browser that WebDriver drives.
type Remote struct {
	Page
	session session
}

func newRemote(t TB, s session) *Remote {
	r := &Remote{session: s}
	r.T, r.driver = t, r
	return r
}

func (r *Remote) navigate(url string) error {
	// Firefox may answer before the page is gone.
	var left bool
	if err := r.evaluate("(document.documentElement.dataset.left = 'true') === 'true'", &left); err != nil {
		return err
	}
	if _, err := r.session.send(toURL, map[string]any{"url": url}); err != nil {
		return err
	}
	r.WaitFor("!document.documentElement.dataset.left")
	return nil
}

func (r *Remote) evaluate(expression string, into any) error {
	value, err := r.session.send(execute, map[string]any{"script": "return " + expression, "args": []any{}})
	if err != nil {
		return err
	}
	return json.Unmarshal(value, into)
}

func (r *Remote) click(element string) error { return r.onNamed(element, r.session.clickOn) }

func (r *Remote) enter(element, text string) error {
	return r.onNamed(element, func(name string) error { return r.session.typeInto(name, text) })
}

// onNamed does something to an element by WebDriver's name of it.
func (r *Remote) onNamed(element string, act func(name string) error) error {
	var found map[string]string // its key is the same for all elements
	if err := r.evaluate(element+" ?? null", &found); err != nil {
		return err
	}
	for _, name := range found {
		err := act(name)
		if err != nil && strings.Contains(err.Error(), "stale element reference") {
			return errGone
		}
		return err
	}
	return errGone
}

func (r *Remote) picture() ([]byte, error) {
	r.Do("await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
	value, err := r.session.send(screenshot, map[string]any{"full": false})
	if err != nil {
		return nil, err
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(text)
}

// send sends a command that must succeed, and reads the value of its answer.
func (r *Remote) send(c command, parameters map[string]any, into any) {
	r.T.Helper()
	value, err := r.session.send(c, parameters)
	if err == nil && into != nil {
		err = json.Unmarshal(value, into)
	}
	if err != nil {
		r.T.Fatalf("%s: %v", c.name, err)
	}
}

// PopUp goes on in a window of that size. Windows with toolbars cannot be as
// small as a phone.
func (r *Remote) PopUp(width, height int) {
	r.T.Helper()
	handles := func() (list []string) {
		r.send(windowHandles, nil, &list)
		return list
	}
	before := handles()
	r.Do(fmt.Sprintf("open('about:blank', '_blank', 'popup,width=%d,height=%d')", width, height))
	testkit.WaitFor(r.T, "the window is there", func() bool { return len(handles()) > len(before) })
	for _, handle := range handles() {
		if !slices.Contains(before, handle) {
			r.send(switchToWindow, map[string]any{"handle": handle}, nil)
		}
	}
	r.WaitFor(fmt.Sprintf("innerWidth === %d && innerHeight === %d", width, height))
}

// AddAuthenticator adds a virtual one, whose person is there and known to it or not.
func (r *Remote) AddAuthenticator(verified bool) (remove func()) {
	r.T.Helper()
	var id string
	r.send(addAuthenticator, map[string]any{
		"protocol": "ctap2_1", "transport": "internal", "hasResidentKey": true,
		"hasUserVerification": true, "isUserConsenting": true, "isUserVerified": verified,
	}, &id)
	return func() { r.send(removeAuthenticator, map[string]any{"authenticatorId": id}, nil) }
}
