// @ts-check
// What is seen of the page: the on-screen keyboard covers its lower part on iOS, where
// nothing but the visual viewport tells, and sheets may be higher than the screen.

const view = globalThis.visualViewport;

/** Whether fingers magnify the page, which lays out nothing anew. WebKit's innerHeight shrinks with it. */
const magnified = () => (view?.scale ?? 1) > 1.01;

/** How far down the page is seen, in pixels. */
const seen = () => magnified() ? document.documentElement.clientHeight :
	Math.min(innerHeight, view ? view.offsetTop + view.height : Infinity);

function resized() {
	if (magnified()) {
		document.documentElement.style.removeProperty('--seen');
		return;
	}
	document.documentElement.style.setProperty('--seen', `${Math.round(seen())}px`);
	const focused = document.activeElement;
	if (seen() < innerHeight - 1 && focused?.matches('input, textarea, select')) {
		focused.scrollIntoView({ block: 'nearest' });
	}
}

// WebKit tells of a change before what it tells of has changed (WebKit bug 254861): a
// keyboard that went would leave its place empty.
function changed() {
	resized();
	requestAnimationFrame(resized);
}

/** Keeps body and sheets above the keyboard, by --seen in app.css. */
export function start() {
	view?.addEventListener('resize', changed);
	view?.addEventListener('scroll', changed);
	addEventListener('resize', changed);
	addEventListener('pageshow', changed);
	document.addEventListener('focusin', changed); // the next field while the keyboard stays
	resized();
}

/**
 * Has the whole sheet scroll where its title and buttons leave little for what is between
 * them: on small screens and with large letters. The buttons stay in sight if they take
 * less than three fifths of it; else they scroll as well.
 * @param {HTMLDialogElement} dialog
 */
export function fit(dialog) {
	const ends = [dialog.querySelector('.sheet-head'), dialog.querySelector('.sheet-foot')];
	const measure = () => {
		const [head, foot] = ends.map((e) => e?.getBoundingClientRect().height ?? 0);
		dialog.classList.toggle('whole', head + foot > .6 * seen());
		dialog.classList.toggle('keeps-foot', foot < .6 * seen());
		dialog.style.setProperty('--foot', `${Math.ceil(foot)}px`);
	};
	const observer = new ResizeObserver(measure);
	ends.forEach((e) => e && observer.observe(e));
	const again = () => {
		measure();
		requestAnimationFrame(measure); // see changed
	};
	const places = [globalThis, view];
	places.forEach((p) => p?.addEventListener('resize', again));
	dialog.addEventListener('close', () => {
		observer.disconnect();
		places.forEach((p) => p?.removeEventListener('resize', again));
	});
	measure();
}
