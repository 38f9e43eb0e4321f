package pushsubject

import "testing"

func TestParse(t *testing.T) {
	for subject, want := range map[string]string{
		"mailto:root@hub.example.org":        "mailto:root@hub.example.org",
		"MAILTO:root@hub.example.org":        "mailto:root@hub.example.org",
		"https://hub.example.org":            "https://hub.example.org",
		"HTTPS://hub.example.org/contact":    "https://hub.example.org/contact",
		"https://laptop.tail1a2b3.ts.net":    "https://laptop.tail1a2b3.ts.net",
		"mailto:me+push@sub.example.co.uk":   "mailto:me+push@sub.example.co.uk",
		"mailto:openclaw@localhost":          "", // web-push#947
		"mailto:relay@herdr.local":           "", // herdr-mobile-relay#7
		"mailto:security@gateway.invalid":    "", // omp-session-gateway#173
		"https://localhost:8722":             "", // web-push#787
		"https://localhost":                  "",
		"https://laptop.home.arpa":           "",
		"https://192.168.1.7":                "",
		"https://[2001:db8::1]":              "",
		"mailto:root@192.168.1.7":            "",
		"https://hub.example.org:8443":       "",
		"mail@example.org":                   "", // webpush-java#201
		"mailto: root@example.org":           "",
		"mailto:Root <root@example.org>":     "",
		"mailto:<root@example.org>":          "",
		"mailto:root@example.org?subject=hi": "",
		"mailto:":                            "",
		"mailto:root":                        "",
		"http://hub.example.org":             "",
		"https://":                           "",
		"https://user:secret@example.org":    "",
		"https://hub.example.org/a b":        "",
		"":                                   "",
		"tel:+15551234":                      "",
	} {
		got, err := Parse(subject)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", subject, got, err, want)
		}
	}
}

// A home hub's own name is none that a push service could look up.
func TestForOrigin(t *testing.T) {
	for origin, want := range map[string]string{
		"https://hub.example.org":               "https://hub.example.org",
		"https://hub.example.org:8443":          "https://hub.example.org",
		"https://Laptop.tail1a2b3.ts.net":       "https://laptop.tail1a2b3.ts.net",
		"https://laptop.local:8722":             Fallback,
		"https://laptop.home.arpa":              Fallback,
		"http://localhost:8722":                 Fallback,
		"http://vmux.localhost:8722":            Fallback,
		"https://laptop.internal":               Fallback,
		"https://laptop.lan":                    Fallback,
		"https://laptop.test":                   Fallback,
		"https://laptop.home":                   Fallback,
		"https://laptop.corp":                   Fallback,
		"https://laptop.localdomain":            Fallback,
		"https://laptop.fritz.box":              Fallback,
		"https://hub.example":                   Fallback,
		"https://hub.invalid":                   Fallback,
		"https://abcdefghijklmnop.onion":        Fallback,
		"https://1.0.0.127.in-addr.arpa":        Fallback,
		"https://laptop":                        Fallback,
		"https://com":                           Fallback,
		"https://192.168.1.7:8722":              Fallback,
		"https://8.8.8.8":                       Fallback,
		"https://[fe80::1]":                     Fallback,
		"https://[2606:2800:21f:cb07::1]:8722":  Fallback,
		"https://my_laptop.example.org":         Fallback,
		"https://-x.example.org":                Fallback,
		"https://hub.example.org.":              "https://hub.example.org",
		"https://xn--hb-hoa.example.org":        "https://xn--hb-hoa.example.org",
		"https://h\u00fcb.example.org":          Fallback,
		"https://laptop.mycompany.intra":        Fallback,
		"https://" + string(make([]byte, 300)):  Fallback,
		"://":                                   Fallback,
		"https://hub.example.org/ignored?x=y#z": "https://hub.example.org",
	} {
		if got := For(origin); got != want {
			t.Errorf("%q: %q, want %q", origin, got, want)
		}
	}
	if _, err := Parse(Fallback); err != nil {
		t.Errorf("the fallback itself: %v", err)
	}
}
