package engines

import (
	"encoding/json"
	"fmt"
	"strings"
)

// command is one of WebDriver's, as its two protocols call it: Marionette by
// name, HTTP by method and path below the session.
type command struct{ name, method, path string }

// Of https://www.w3.org/TR/webdriver2/ and, the last ones,
// https://www.w3.org/TR/webauthn-3/#sctn-automation.
var (
	navigate            = command{"WebDriver:Navigate", "POST", "/url"}
	execute             = command{"WebDriver:ExecuteScript", "POST", "/execute/sync"}
	screenshot          = command{"WebDriver:TakeScreenshot", "GET", "/screenshot"}
	newSession          = command{"WebDriver:NewSession", "POST", ""}
	windowHandles       = command{"WebDriver:GetWindowHandles", "GET", "/window/handles"}
	switchToWindow      = command{"WebDriver:SwitchToWindow", "POST", "/window"}
	addAuthenticator    = command{"WebAuthn:AddVirtualAuthenticator", "POST", "/webauthn/authenticator"}
	removeAuthenticator = command{"WebAuthn:RemoveVirtualAuthenticator", "", ""} // WebKitGTK has none
)

// driver sends commands to a browser's session and returns the value of each
// answer.
type driver interface {
	send(c command, parameters map[string]any) (json.RawMessage, error)
	click(element string) error
	keys(element, text string) error
}

// failed is the error that an answer of WebDriver tells.
func failed(text json.RawMessage) error {
	var e struct{ Error, Message string }
	if err := json.Unmarshal(text, &e); err != nil || e.Error == "" {
		return fmt.Errorf("%s", strings.TrimSpace(string(text)))
	}
	return fmt.Errorf("%s: %s", e.Error, e.Message)
}
