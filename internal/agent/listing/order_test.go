package listing

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"vmux/internal/agent/client"
	"vmux/internal/agent/keys"
	"vmux/internal/sshconfig"
)

func TestOrder(t *testing.T) {
	key := func(name string, change ...func(*keys.Info)) *keys.Key {
		id := &keys.Key{Info: keys.Info{Fingerprint: name, Comment: name, PublicKeyBlob: []byte(name), Algorithm: "ssh-ed25519"}}
		for _, c := range change {
			c(&id.Info)
		}
		return id
	}
	passkey := func(k *keys.Info) { k.Algorithm = ssh.KeyAlgoSKECDSA256 }
	isDefault := func(k *keys.Info) { k.Default = true }
	only := func(host string) func(*keys.Info) { return func(k *keys.Info) { k.Hosts = []string{host} } }
	all := []*keys.Key{
		key("a"), key("b"), key("c"), key("d", isDefault), key("e"), key("f"),
		key("here", only("host")), key("there", only("elsewhere")), key("sk", passkey), key("sk2", passkey),
	}
	named := func(names ...string) client.Login {
		set := map[string]bool{}
		for _, n := range names {
			set[n] = true
		}
		return client.Login{Login: sshconfig.Login{Keys: set}}
	}
	unclear := client.Login{Login: sshconfig.Login{Unclear: true}}
	for _, test := range []struct {
		name  string
		order order
		want  string
	}{
		{"an unknown host", order{limit: 4}, "here d a b"},
		{"after a login without a signature", order{limit: 4, tries: 1}, "c e"},
		{"and another", order{limit: 4, tries: 2}, ""},
		{"without a signature, where a key worked before", order{limit: 4, tries: 1, worked: "f"}, "f b"},
		{"and another there", order{limit: 4, tries: 2, worked: "f"}, "f"},
		{"without a signature, and keys are named", order{limit: 4, tries: 1, named: named("e", "sk", "b")}, "b e sk"},
		{"and another, named", order{limit: 4, tries: 2, named: named("e", "sk")}, "e sk"},
		{"without a signature, named as only ssh can tell", order{limit: 4, tries: 2, named: unclear}, ""},
		{"without a signature, of all", order{tries: 2}, "here d a b c e f sk sk2"},
		{"without a signature, of one", order{limit: 1, tries: 1}, "d"},
		{"a key that worked", order{limit: 4, worked: "f"}, "f here d a"},
		{"a passkey that worked", order{limit: 4, worked: "sk"}, "sk here d a"},
		{"a key that worked and is for others now", order{limit: 4, worked: "there"}, "here d a b"},
		{"keys the user names", order{limit: 4, named: named("e", "sk", "b", "a", "c")}, "a b c e sk"},
		{"named as only ssh can tell", order{limit: 4, named: unclear}, "here d a b c e f sk sk2"},
		{"no limit", order{}, "here d a b c e f sk sk2"},
		{"one", order{limit: 1, worked: "b"}, "b"},
	} {
		test.order.host = "host"
		var got []string
		for _, id := range test.order.apply(all) {
			got = append(got, id.Comment)
		}
		if want := strings.Fields(test.want); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", test.name, got, want)
		}
	}
	few := all[:3]
	for tries, want := range []string{"a b c", "b c", ""} {
		var got []string
		for _, id := range (order{host: "host", limit: 4, tries: tries}).apply(few) {
			got = append(got, id.Comment)
		}
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("of three, after %d logins without a signature: %q, want %q", tries, got, want)
		}
	}
	if got := (order{limit: 4}).apply(nil); len(got) != 0 {
		t.Errorf("no keys: %v", got)
	}
}
