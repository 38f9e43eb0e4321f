package webui

import (
	"testing"

	"vmux/test/browser"
)

// A browser's own detector that does not work is not waited for: the app's reader
// looks as well.
func TestDetectorThatDoesNotWork(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	for name, quirk := range map[string]string{
		"rejects":            browser.QuirkScript(t, "barcode-rejects"),
		"finds nothing":      browser.QuirkScript(t, "barcode-blind"),
		"never answers":      browser.QuirkScript(t, "barcode-silent", "detect"),
		"never says of what": browser.QuirkScript(t, "barcode-silent", "getSupportedFormats"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := open(t, h, view{room: true, before: quirk})
			p.Screen("pair")
			p.Wants("Pair with this computer?")
		})
	}
}

// seesAgain declines the invitation before the camera, which finds it once more.
func (p *tab) seesAgain() {
	p.t.Helper()
	p.Tap("Cancel")
	p.WaitFor(noSheet)
	p.Wants("Pair with this computer?")
}

// A camera that has ended, with an event or without, or whose picture stands still,
// starts anew, after the one before is closed.
func TestCameraStartsAnew(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	for _, how := range []string{"ended", "mute", "unsaid", "still"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := open(t, h, view{room: true, before: browser.QuirkScript(t, "camera-ended")})
			p.Screen("pair")
			p.Wants("Hold the code inside the frame.", "Pair with this computer?")
			p.Do("globalThis.cameraStarts = 0; cameraEnds('" + how + "')")
			p.WaitFor("cameraStarts > 0 && document.querySelector('video').srcObject?.active")
			p.seesAgain()
		})
	}
}

// A camera that is muted for a moment goes on: to start it anew, it would be muted for a
// moment again, until it was said to give no picture.
func TestCameraThatIsMutedForAMoment(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	p := open(t, h, view{room: true, before: browser.QuirkScript(t, "camera-ended")})
	p.Screen("pair")
	p.Wants("Hold the code inside the frame.", "Pair with this computer?")
	if !browser.Eval[bool](p, `(() => {
		const video = document.querySelector('video'), before = video.srcObject;
		globalThis.cameraStarts = 0;
		cameraEnds('blink');
		return before !== null && video.srcObject === before;
	})()`) {
		t.Error("the camera was closed")
	}
	p.seesAgain()
	if n := browser.Eval[int](p, "cameraStarts"); n != 0 {
		t.Errorf("the camera started %d times more", n)
	}
}

// A camera that gives no picture is told, and used once it gives one: on return to
// the app, or by a tap.
func TestCameraWithoutPicture(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	for _, failure := range []string{"", "NotReadableError"} {
		p := open(t, h, view{room: true, before: browser.QuirkScript(t, "camera-black", failure)})
		p.Screen("pair")
		p.Wants("The camera gives no picture.", "Another app may be using it")
		p.Do("globalThis.cameraWorks = true")
		if failure == "" {
			p.Tap("Try the camera again")
		} else {
			p.Do("document.dispatchEvent(new Event('visibilitychange'))")
		}
		p.Wants("Hold the code inside the frame.")
	}
}

// Another camera and the light can be chosen, where there are such.
func TestOtherCameraAndLight(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	p := open(t, h, view{before: browser.QuirkScript(t, "camera-others")})
	p.Screen("pair")
	p.Wants("far, facing back", "Light")
	p.Tap("Light")
	p.WaitFor("cameraAsked.at(-1) === 'light' && document.querySelector('[data-key=light]').ariaPressed === 'true'")
	p.Tap("Light")
	p.WaitFor("cameraAsked.join() === 'environment,light,dark,environment' && document.querySelector('[data-key=light]')?.ariaPressed === 'false'")
	p.Do("const s = document.querySelector('select'); s.value = 'near'; s.dispatchEvent(new Event('change'))")
	p.WaitFor("cameraAsked.at(-1) === 'near' && document.querySelector('select')?.value === 'near'")
	// One that cannot be used gives way.
	p.Do("const s = document.querySelector('select'); s.value = 'broken'; s.dispatchEvent(new Event('change'))")
	p.WaitFor("cameraAsked.includes('broken') && document.querySelector('select')?.value === 'far'")
	p.Do("const s = document.querySelector('select'); s.value = 'near'; s.dispatchEvent(new Event('change'))")
	p.WaitFor("cameraAsked.at(-1) === 'near' && document.querySelector('select')?.value === 'near'")
	// The choice lasts while the app runs.
	p.Screen("home")
	p.Screen("pair")
	p.WaitFor("cameraAsked.filter((c) => c === 'near').length === 3 && document.querySelector('select')?.value === 'near'")
	p = open(t, h, view{})
	p.Screen("pair")
	p.Wants("Hold the code inside the frame.")
	if browser.Eval[bool](p, "document.querySelector('.finder-tools').childElementCount > 0") {
		t.Error("there is something to choose where there is one camera and no light")
	}
}
