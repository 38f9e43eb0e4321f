package wire

import (
	"errors"
	"strings"
	"testing"
)

func TestParseHubURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://hub.example":                 "https://hub.example",
		"https://hub.example/":                "https://hub.example",
		"https://Hub.Example:443":             "https://hub.example",
		"https://hub.example:8443/":           "https://hub.example:8443",
		"https://Hub.Example.:8443/":          "https://hub.example:8443",
		"http://vmux.localhost.":              "http://vmux.localhost",
		"https://.":                           "",
		"https://hub.example/vmux/":           "",
		"https://hub.example//":               "",
		"https://h\u00fcb.example":            "",
		"https://[fe80::1%25eth0]":            "",
		"https://192.0.2.7:8443":              "https://192.0.2.7:8443",
		"https://[2001:DB8::7]:8443":          "https://[2001:db8::7]:8443",
		"http://localhost:8722":               "http://localhost:8722",
		"http://phone.localhost":              "http://phone.localhost",
		"http://127.0.0.1:80":                 "http://127.0.0.1",
		"http://[::1]:1":                      "http://[::1]:1",
		"":                                    "",
		"hub.example":                         "",
		"//hub.example":                       "",
		"https:hub.example":                   "",
		"https://":                            "",
		"https:///path":                       "",
		"ftp://hub.example":                   "",
		"wss://hub.example":                   "",
		"http://hub.example":                  "",
		"http://192.0.2.7":                    "",
		"http://localhost.example":            "",
		"http://evillocalhost":                "",
		"https://user@hub.example":            "",
		"https://hub%22.example":              "",
		"javascript://localhost/%0aalert":     "",
		"https://user:secret@hub.example":     "",
		"https://hub.example?x=1":             "",
		"https://hub.example?":                "",
		"https://hub.example#s=secret":        "",
		"https://hub.example#":                "",
		"https://hub.example:0":               "",
		"https://hub.example:65536":           "",
		"https://hub.example:x":               "",
		"https://hub\u202e.example":           "",
		"https://hub.example/\x00":            "",
		"https://" + strings.Repeat("a", 300): "",
	} {
		got, err := ParseHubURL(in)
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrHubURL) {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
		if want == "" {
			continue
		}
		if again, err := ParseHubURL(got); again != got || err != nil {
			t.Errorf("%q is not its own one form: %q, %v", got, again, err)
		}
	}
}

func TestDeviceTokenUpdateIsChecked(t *testing.T) {
	for body, ok := range map[string]bool{
		`{"service":"webpush","hub":"https://hub.example","active":true}`:                                                          true,
		`{"service":"webpush","hub":"https://hub.example","active":false}`:                                                         true,
		`{"service":"apns","hub":"https://hub.example","active":true}`:                                                             false,
		`{"hub":"https://hub.example","active":true}`:                                                                              false,
		`{"service":"webpush","active":true}`:                                                                                      false,
		`{"service":"webpush","hub":"https://hub.example/","active":true}`:                                                         false,
		`{"service":"webpush","hub":"https://HUB.example","active":true}`:                                                          false,
		`{"service":"webpush","hub":"http://hub.example","active":true}`:                                                           false,
		`{"service":"webpush","hub":"https://hub.example","active":"maybe"}`:                                                       false,
		`{"service":"webpush","hub":"https://hub.example","active":false,"reason":"denied"}`:                                       true,
		`{"service":"webpush","hub":"https://hub.example","active":false,"reason":"a reason of a later version that is too long"}`: false,
	} {
		err := DecodeBody(Envelope{Kind: KindDeviceTokenUpdate, Body: []byte(body)}, &DeviceTokenUpdate{})
		if (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
		if err != nil && strings.Contains(err.Error(), "example") {
			t.Errorf("the error repeats what was sent: %v", err)
		}
	}
}
