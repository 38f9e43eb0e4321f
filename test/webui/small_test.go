package webui

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"

	"vmux/test/browser"
)

// letters of the person's size, as a share of the browser's.
func (p *tab) letters(percent int) {
	p.t.Helper()
	p.Do(fmt.Sprintf("document.documentElement.style.fontSize = '%d%%'; for (let i = 0; i < 3; i++) await new Promise((r) => requestAnimationFrame(r))", percent))
}

// On small screens, with large letters, in both colours, all of a sheet can be brought
// on the screen: nothing is cut off, and what a person approves can be read.
func TestSheetsOnSmallScreens(t *testing.T) {
	t.Parallel()
	h := startPictures(t)
	for _, name := range []string{"sign", "sign-changed", "certificate", "pair-confirm"} {
		i := slices.IndexFunc(shots, func(s shot) bool { return s.name == name })
		if i < 0 {
			t.Fatalf("there is no shot %s", name)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := open(t, h, shots[i].view)
			shots[i].show(p)
			for _, v := range []view{{width: 320, height: 568}, {width: 568, height: 320, dark: true}} {
				for _, percent := range []int{100, 200} {
					p.look(v)
					p.letters(percent)
					p.settle()
					what := fmt.Sprintf("%dx%d at %d%%", v.width, v.height, percent)
					for _, hidden := range browser.Eval[[]string](p, allReached) {
						t.Errorf("%s: %s", what, hidden)
					}
					if dir := os.Getenv("VMUX_PICTURES"); dir != "" {
						browser.SavePNG(t, filepath.Join(dir, fmt.Sprintf("%s-%d-%d.png", name, v.width, percent)), p.Picture())
					}
				}
			}
		})
	}
}

// allReached names what of the topmost sheet cannot be seen whole after scrolling
// there, or has a scroller within a scroller that shows less than three lines.
const allReached = `(() => {
	const dialog = Array.from(document.querySelectorAll('dialog[open]')).at(-1);
	const found = [];
	for (const e of dialog.querySelectorAll('button, h2, p, dt, dd, .ring, label')) {
		if (!e.checkVisibility() || !e.innerText.trim() || e.closest('.notes')) {
			continue;
		}
		e.scrollIntoView({ block: 'nearest' });
		const r = e.getBoundingClientRect();
		if (r.left < -1 || r.right > innerWidth + 1 || r.height < innerHeight && (r.top < -1 || r.bottom > innerHeight + 1)) {
			found.push('cut off: ' + e.innerText.slice(0, 40) + ' ' + [r.left, r.top, r.right, r.bottom].map(Math.round));
		}
		if (e.matches('h2') && e.scrollHeight > e.clientHeight + 1) {
			found.push('its end is not shown: ' + e.innerText);
		}
		if (e.matches('button') && e.scrollWidth > e.clientWidth + 1) {
			found.push('wider than its button: ' + e.innerText);
		}
	}
	const body = dialog.querySelector('.sheet-body');
	const line = parseFloat(getComputedStyle(body).lineHeight);
	if (body.clientHeight < 3 * line && body.scrollHeight > body.clientHeight + 1) {
		found.push('what is asked has ' + body.clientHeight + ' pixels of ' + body.scrollHeight);
	}
	dialog.scrollTop = 0;
	return found;
})()`

// Where the system forces its own colours, as Windows does for high contrast, a switch still
// shows whether it is on (vscode-elements/elements#587, david-tejada/rango#192).
func TestSwitchesInForcedColours(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{})
	p.Screen("settings")
	p.WaitFor("document.querySelector('.switch')")
	browser.Send(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "forced-colors", Value: "active"}}})
	p.WaitFor("matchMedia('(forced-colors: active)').matches")
	colours := func(on bool) []string {
		return browser.Eval[[]string](p, fmt.Sprintf(`(() => {
			const s = document.querySelector('.switch');
			s.checked = %v;
			return [getComputedStyle(s).backgroundColor, getComputedStyle(s, '::before').backgroundColor];
		})()`, on))
	}
	on, off := colours(true), colours(false)
	if on[0] == on[1] || off[0] == off[1] || on[0] == off[0] {
		t.Errorf("on: %v, off: %v", on, off)
	}
}

// The on-screen keyboard covers no field: on a screen, and on a sheet.
func TestKeyboardCoversNoField(t *testing.T) {
	t.Parallel()
	p := open(t, startHub(t), view{width: 320, height: 568, before: browser.QuirkScript(t, "keyboard-covers")})
	p.passkey("work")
	covered := func(field string) {
		t.Helper()
		const drawn = "for (let i = 0; i < 3; i++) await new Promise((r) => requestAnimationFrame(r))"
		p.Do(field + ".focus(); keyboard(260); " + drawn)
		if got := browser.Eval[float64](p, field+".getBoundingClientRect().bottom"); got > 568-260 {
			t.Errorf("%s ends at %v, the keyboard begins at 308", field, got)
		}
		p.Do("keyboard(0); " + drawn)
		if got := browser.Eval[float64](p, "document.body.getBoundingClientRect().height"); got != 568 {
			t.Errorf("after the keyboard the page is %v high", got)
		}
	}
	p.Screen("pair")
	p.Wants("Or paste the invitation")
	covered("document.querySelector('textarea')")
	p.shows("work")
	p.Tap("Rename")
	p.WaitFor("document.querySelector('dialog input')")
	p.settle()
	covered("document.querySelector('dialog input')")
	// A page that fingers magnify is not laid out anew.
	p.Do("magnify(2)")
	if got := browser.Eval[float64](p, "document.body.getBoundingClientRect().height"); got != 568 {
		t.Errorf("the magnified page is %v high", got)
	}
	if got := browser.Eval[float64](p, "document.querySelector('dialog[open]').getBoundingClientRect().bottom"); got != 568 {
		t.Errorf("the magnified sheet ends at %v", got)
	}
}

// What VoiceOver and TalkBack read of a request comes in this order: who asks, for
// what, how long there is, the lines, Deny, Approve.
func TestRequestIsReadInOrder(t *testing.T) {
	t.Parallel()
	p, studio := paired(t, view{})
	p.signs(studio.asks(wanted{}))
	login := studio.asks(wanted{})
	defer login.withdraw()
	p.armed()
	tree := browser.Send(p, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	nodes := map[accessibility.NodeID]*accessibility.Node{}
	for _, node := range tree.Nodes {
		nodes[node.NodeID] = node
	}
	var read []string
	var walk func(*accessibility.Node)
	walk = func(node *accessibility.Node) {
		var name string
		if node.Name != nil && !node.Ignored && json.Unmarshal([]byte(node.Name.Value), &name) == nil && name != "" {
			read = append(read, name)
		}
		for _, child := range node.ChildIDs {
			if nodes[child] != nil {
				walk(nodes[child])
			}
		}
	}
	walk(tree.Nodes[0])
	const seconds = "the seconds that are left"
	order := []string{"studio", "wants to log in as", "deploy@web-1.example.org", seconds, "Decide later", "User", "Host key", "Said by the computer, not checked", "Program", "Deny", "Approve", "Other answers"}
	last := -1
	for _, name := range order {
		at := slices.IndexFunc(read[last+1:], func(text string) bool {
			n, err := strconv.Atoi(text)
			return text == name || name == seconds && err == nil && n > 20 && n <= 60
		})
		if at < 0 {
			t.Fatalf("%q is not read after what comes before it: %q", name, read)
		}
		last += 1 + at
	}
}

// Names that are written from right to left move no button and no mark.
func TestRightToLeftNames(t *testing.T) {
	const places = `JSON.stringify(['.ring', '[aria-label="Decide later"]', '[data-key=deny]', '[data-key=approve]', '.from .icon'].map((s) => {
		const r = document.querySelector('dialog[open] ' + s).getBoundingClientRect();
		return [s, Math.round(r.left), Math.round(r.right)];
	}))`
	t.Parallel()
	p := open(t, startHub(t), view{width: 320, height: 568})
	p.passkey("work")
	var want string
	for _, name := range []string{"studio", "مكتب", "סטודיו", "a مكتب b"} {
		request := p.computer(name).asks(wanted{user: name})
		p.armed()
		p.settle()
		got := browser.Eval[string](p, places)
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("%s: %s, with studio %s", name, got, want)
		}
		request.withdraw()
		p.WaitFor(noSheet)
	}
}
