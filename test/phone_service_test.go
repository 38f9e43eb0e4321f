//go:build linux

package test

import (
	"regexp"
	"strings"
	"testing"
)

// phoneServiceScript has a machine that is a phone, and a computer as well, start both at
// login.
const phoneServiceScript = `manager
files() { (cd $HOME; find . -path ./.local/state -prune -o -printf '%p %M %l\n' | sort); }
state() { echo "$1: $(systemctl --user is-enabled vmux-phone 2>&1 | head -n 1) $(systemctl --user is-active vmux-phone)"; }
mkdir -m 700 $HOME/.ssh # as the agent makes it
before=$(files)
vmux phone run --listen 127.0.0.1:0 2>/run/log &
tries vmux phone lock
vmux setup --yes --parts phone 2>&1 || echo "beside a phone: $?"
kill $!
wait $! || true
vmux setup --undo 2>/dev/null
vmux setup --yes --parts service
vmux setup --yes --parts phone 2>&1
tries vmux phone lock
state "set up"
vmux setup --yes --parts phone 2>&1
rm $HOME/.config/systemd/user/vmux-phone.service
echo '# mine' >$HOME/.config/systemd/user/vmux-phone.service
vmux setup --yes --parts phone,service 2>&1
rm $HOME/.config/systemd/user/vmux-phone.service
vmux setup --undo 2>&1
state "undone"
echo "agent: $(systemctl --user is-active vmux-agent)"
[ "$(files)" = "$before" ] && echo "as it was" || files
systemctl --user exit
wait
`

// vmux setup --parts phone starts vmux phone at login, beside the agent's service or without
// it, and --undo takes both out. A phone that runs by hand, and a unit of a person's own, stay.
func TestPhoneAsAService(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	putProgram(t, h)
	out := underServiceManager(t, phoneServiceScript, h.dir)
	for _, want := range []string{
		"vmux phone run, has the state folder ",
		"hint: end that phone, then vmux setup again; or vmux setup --parts without phone\n",
		"beside a phone: 1\n",
		"vmux: enable and start vmux-phone.service\n",
		"set up: enabled active\n",
		"vmux: all of it is there already\n",
		"/vmux-phone.service is there already, and setup has not written it; it is left alone, and would get:\n",
		" inactive\nagent: inactive\n",
		"as it was\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() || regexp.MustCompile("in vain").MatchString(out) {
		t.Errorf("the phone's machine:\n%s", out)
	}
}
