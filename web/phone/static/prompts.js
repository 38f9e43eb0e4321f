// @ts-check
// Extensions of password managers ask for a passkey in the page itself, in an element of their own
// beside the app's. A modal sheet lies over that and keeps it from being pressed (apptron#119,
// internet-identity#3573). So while a passkey is asked for and there is such an element, the
// sheets are open without being modal. What the app has of its own keeps its place below them.

/** What stands in the page, and is none of the app's. */
const isTheirs = (/** @type {Node} */ node) => node instanceof HTMLElement &&
	!node.matches('head, body, script, style, link, dialog, .skip, #top, #main, .bottom, #live');

/** The questions for a passkey that are under way. */
let asking = 0;

/** Those that were modal. @type {Set<HTMLDialogElement>} */
const released = new Set();

/**
 * Moves the open sheets out of the browser's top layer, or into it again: as elements that are
 * put into the page anew, which loses what is scrolled and focused.
 * @param {Iterable<HTMLDialogElement>} dialogs @param {(dialog: HTMLDialogElement) => void} open
 */
function move(dialogs, open) {
	for (const dialog of dialogs) {
		const scrolled = [dialog, ...dialog.querySelectorAll('.sheet-body')].map((e) => ({ e, top: e.scrollTop }));
		const focused = /** @type {HTMLElement | null} */ (dialog.contains(document.activeElement) ? document.activeElement : null);
		dialog.classList.add('moved');
		dialog.remove();
		document.body.append(dialog);
		open(dialog);
		scrolled.forEach(({ e, top }) => { e.scrollTop = top; });
		focused?.focus({ preventScroll: true });
	}
}

function release() {
	const modal = /** @type {NodeListOf<HTMLDialogElement>} */ (document.querySelectorAll('dialog:modal'));
	if (modal.length > 0 && [document.documentElement, document.body].some((e) => Array.from(e.children).some(isTheirs))) {
		modal.forEach((dialog) => released.add(dialog));
		move(modal, () => {}); // an open dialog that is put into a page is not modal
	}
}

function restore() {
	move(Array.from(released).filter((dialog) => dialog.isConnected && dialog.open), (dialog) => {
		dialog.open = false;
		dialog.showModal();
	});
	released.clear();
}

/** While a passkey is asked for. @template T @param {Promise<T>} answer @returns {Promise<T>} */
export function during(answer) {
	asking++;
	release();
	return answer.finally(() => {
		asking--;
		if (asking === 0) {
			restore();
		}
	});
}

/** Watches for what extensions put into the page. */
export function start() {
	const watch = new MutationObserver((changes) => {
		if (asking > 0 && changes.some(({ addedNodes }) => Array.from(addedNodes).some(isTheirs))) {
			release();
		}
	});
	watch.observe(document.documentElement, { childList: true });
	watch.observe(document.body, { childList: true });
	// 1Password makes what is beside its question inert, also the sheet that it has put it into, and
	// does not always take that back (ithacaxyz/porto). The app makes nothing inert.
	new MutationObserver((changes) => changes.forEach(({ target }) => isTheirs(target) || /** @type {Element} */ (target).removeAttribute('inert')))
		.observe(document.documentElement, { attributes: true, attributeFilter: ['inert'], subtree: true });
}
