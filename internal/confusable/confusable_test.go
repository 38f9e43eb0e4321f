package confusable

import "testing"

func TestAlike(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"prod-1.example.com", "prod-1.example.com", true},
		{"prod-1.example.com", "prod-l.example.com", true},
		{"prod-1.example.com", "prod-I.example.com", true},
		{"PROD-1.example.com", "prod-l.example.com", true},
		{"prod.example.com", "prоd.example.com", true}, // a Cyrillic o
		{"prod.example.com", "рrod.example.com", true}, // a Cyrillic er
		{"paypal", "𝔭𝒶ỿ𝕡𝕒ℓ", true},
		{"modern.example", "rnodem.example", true},
		{"modern.example", "modem.example", true},
		{"prod", "pr\u3164od", true}, // drawn as nothing
		{"prod", "pro\u00add", true},
		{"❤️", "❤", true},
		{"laptop", "Laptop", true},
		{"é", "e\u0301", true},
		{"a⁄b", "a/b", true},
		{"prod-1", "PROD-I", true},
		{"oracle", "0RACLE", true},
		{"oracle", "0racle", true},
		{"prod.example.com", "ＰＲＯＤ.example.com", true}, // wide
		{"prod", "ⓟⓡⓞⓓ", true},
		{"prod.example.com", "РRОD.EXAMPLE.СОМ", true}, // Cyrillic er, o, es, em
		{"int", "INT", true},
		{"web-i", "web-1", false},
		{"prod-1.example.com", "prod-2.example.com", false},
		{"prod.example.com", "test.example.com", false},
		{"laptop", "laptop2", false},
		{"", "a", false},
	} {
		if got := Alike(c.a, c.b); got != c.want || Alike(c.b, c.a) != c.want {
			t.Errorf("%q and %q: alike %v, want %v (%q, %q)", c.a, c.b, got, c.want, skeleton(c.a), skeleton(c.b))
		}
	}
}
