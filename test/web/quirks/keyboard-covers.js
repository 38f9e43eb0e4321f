// Safari on iOS lays its on-screen keyboard over the page and tells by the visual viewport
// alone (WebKit/standards-positions #65, w3c/csswg-drafts #7767); before July 2026 it knew
// no interactive-widget (WebKit/WebKit #70058). Here keyboard(height) shows one.
() => {
	const view = new EventTarget();
	Object.assign(view, { scale: 1, offsetTop: 0, height: innerHeight });
	Object.defineProperty(globalThis, 'visualViewport', { value: view });
	globalThis.keyboard = (height) => {
		view.height = innerHeight - height;
		view.dispatchEvent(new Event('resize'));
	};
}
